//! How often somebody may ask: token buckets and windows, in this process or shared through Redis.
