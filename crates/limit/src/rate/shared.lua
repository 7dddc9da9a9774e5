-- Counts one request of KEYS[1], atomically. ARGV: algorithm, quota, step (microseconds), slots of a window, and the
-- time (microseconds) or an empty string for this server's clock, which all who ask then share.
-- Answers: allowed, remaining, reset, wait; the last two in microseconds.
local quota, step, slots = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(ARGV[5])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

if ARGV[1] == 'bucket' then
  local holds = step * quota
  local full = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
  local used = full - now + step
  if used > holds then
    return {0, 0, math.ceil(full - now), math.ceil(used - holds)}
  end
  redis.call('SET', KEYS[1], string.format('%.3f', full + step), 'PX', math.ceil(used / 1000) + 1)
  local remaining = math.floor((holds - used) / step)
  local wait = 0
  if remaining == 0 then wait = used + step - holds end
  return {1, remaining, math.ceil(used), math.ceil(wait)}
end

local newest = math.floor(now / step)
local counts = redis.call('HGETALL', KEYS[1])
local sum, first, last = 0, nil, nil
for i = 1, #counts, 2 do
  local slot = tonumber(counts[i])
  if slot < newest - slots then
    redis.call('HDEL', KEYS[1], counts[i])
  else
    sum = sum + tonumber(counts[i + 1])
    if not first or slot < first then first = slot end
    if not last or slot > last then last = slot end
  end
end
local allowed = 0
if sum < quota then
  allowed = 1
  sum = sum + 1
  -- A clock that went back counts in the newest slot.
  last = math.max(last or newest, newest)
  first = first or last
  redis.call('HINCRBY', KEYS[1], string.format('%.0f', last), 1)
  redis.call('PEXPIRE', KEYS[1], math.ceil(step * (slots + 1) / 1000) + 1)
end
local wait = 0
if sum >= quota then wait = (first + slots + 1) * step - now end
return {allowed, quota - sum, math.ceil((last + slots + 1) * step - now), math.ceil(wait)}
