// A browser (Chromium) at an edge. `node browser.mjs challenge|login PORT PICTURES`: the names app.example and slow.example lead to PORT;
// pictures of what people see are put into a directory. Ends with 0 when all was well.
import assert from "node:assert";
import puppeteer from "puppeteer-core";

const [what, port, pictures] = process.argv.slice(2);
const browser = await puppeteer.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    `--host-resolver-rules=MAP app.example 127.0.0.1:${port}, MAP slow.example 127.0.0.1:${port}`,
  ],
});
const LOOKS = {
  light: { scheme: "light", viewport: { width: 1280, height: 800 } },
  dark: { scheme: "dark", viewport: { width: 1280, height: 800 } },
  phone: { scheme: "light", viewport: { width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true } },
  "dark phone": { scheme: "dark", viewport: { width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true } },
};

// A page of its own profile, with these looks; what it complains about is in `complaints`.
async function open({ scheme, viewport }) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setViewport(viewport);
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // The answer 403 itself, and the icon that no site of this test has.
    if (message.type() === "error" && !/status of 40[34]/.test(message.text())) complaints.push(message.text());
  });
  return { context, page, complaints };
}

const text = (page) => page.evaluate(() => document.body.innerText);
const fits = (page) => page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth);

async function challenge() {
  for (const [name, looks] of Object.entries(LOOKS)) {
    // Hard enough to be looked at.
    const slow = await open(looks);
    const response = await slow.page.goto("http://slow.example/", { waitUntil: "domcontentloaded" });
    assert.equal(response.status(), 403);
    assert.match(await text(slow.page), /small riddle/);
    assert.ok(await fits(slow.page), `${name}: the page is wider than the window`);
    const colours = await slow.page.evaluate(() => {
      const probe = document.createElement("p");
      probe.style = "color: CanvasText; background: Canvas";
      document.body.append(probe);
      const style = getComputedStyle(probe), seen = [style.color, style.backgroundColor];
      probe.remove();
      return seen;
    });
    await slow.page.screenshot({ path: `${pictures}/challenge ${name}.png` });
    const dark = Number(colours[1].match(/\d+/)[0]) < 128;
    assert.equal(dark, looks.scheme === "dark", `${name}: ${colours}`);
    assert.deepEqual(slow.complaints, []);
    await slow.context.close();

    const quick = await open(looks);
    await quick.page.goto("http://app.example/deep?a=b");
    await quick.page.waitForFunction(() => document.body.innerText === "hello from test", { timeout: 60000 });
    assert.equal(quick.page.url(), "http://app.example/deep?a=b");
    const cookies = await quick.context.cookies();
    assert.deepEqual(cookies.map((cookie) => [cookie.name, cookie.sameSite, cookie.path]), [["selvedge_pass", "Lax", "/"]]);
    // Once is enough, also for what pages fetch.
    assert.equal((await quick.page.goto("http://app.example/again")).status(), 200);
    assert.equal(await quick.page.evaluate(async () => (await fetch("/fetched")).status), 200);
    assert.deepEqual(quick.complaints, []);
    await quick.context.close();
  }
  const { page } = await open(LOOKS.light);
  await page.setJavaScriptEnabled(false);
  await page.goto("http://app.example/");
  await page.screenshot({ path: `${pictures}/challenge without scripts.png` });
  // What is seen: no riddle is being solved.
  const seen = await text(page);
  assert.ok(/switched off/.test(seen) && !/small riddle/.test(seen), seen);
}

async function login() {
  for (const name of ["light", "dark phone"]) {
    const { context, page } = await open(LOOKS[name]);
    await page.goto("http://app.example/deep?a=b");
    const issuer = new URL(page.url()).origin;
    assert.notEqual(issuer, "http://app.example");
    await page.type('input[name="login"]', "ann");
    await page.type('input[name="password"]', "secret");
    await page.screenshot({ path: `${pictures}/login ${name}.png` });
    const go = () => Promise.all([page.waitForNavigation(), page.click('button[type="submit"], input[type="submit"]')]);
    await go();
    // The provider asks for consent, too.
    if (new URL(page.url()).origin === issuer) await go();
    assert.equal(page.url(), "http://app.example/deep?a=b");
    assert.equal(await text(page), "ann|staff|");
    await page.screenshot({ path: `${pictures}/logged in ${name}.png` });
    const cookies = (await context.cookies()).filter((cookie) => cookie.domain === "app.example");
    assert.deepEqual(cookies.map(({ name, path }) => `${name} ${path}`).sort(), ["session /", "session-hint /.auth/logout"]);
    assert.ok(cookies.every((cookie) => cookie.httpOnly && cookie.sameSite === "Lax"));
    assert.equal(await page.evaluate(() => document.cookie), "");
    // Fetches of the page have the session, and are not sent to the provider when it is over.
    const fetched = () => page.evaluate(async () => (await fetch("/data")).status);
    assert.equal(await fetched(), 200);
    await context.deleteCookie(...cookies.filter((cookie) => cookie.name === "session"));
    assert.equal(await fetched(), 401);
    // The provider still knows who it is, and asks for consent again, as `offline_access` has it do.
    await page.goto("http://app.example/deep");
    assert.equal(await page.$('input[name="password"]'), null);
    await go();
    assert.equal(await text(page), "ann|staff|");
    await page.evaluate(() => (location.href = "/.auth/logout"));
    await page.waitForNavigation();
    assert.equal(new URL(page.url()).origin, issuer);
    await page.screenshot({ path: `${pictures}/logout ${name}.png` });
    await go();
    // What comes after logging out is a page of the site, which asks for a login again.
    assert.equal(new URL(page.url()).origin, issuer);
    assert.equal((await context.cookies()).some(({ name, domain }) => domain === "app.example" && name.startsWith("session")
      && !name.includes("-login-")), false);
    await context.close();
  }
}

try {
  await (what === "challenge" ? challenge() : login());
} finally {
  await browser.close();
}
