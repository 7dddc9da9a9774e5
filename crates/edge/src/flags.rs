//! Why a request was not answered by what should have answered it, in two or three letters that log lines and alerts can count on.

/// The letters of an error's code. Codes that have none of their own are told by their status.
pub(crate) fn of(code: &str, status: u16) -> &'static str {
    match code {
        "client_closed" => "DC",
        "request_timeout" => "DT",
        "no_route" | "no_such_worker" | "no_such_file" | "unknown_operation" | "unknown_version" => "NR",
        "upstream_refused" | "upstream_unresolved" | "upstream_tls" => "UF",
        "upstream_connect_timeout" | "upstream_timeout" => "UT",
        "upstream_closed" => "UC",
        "upstream_bad_response" | "upstream_no_websocket" => "UP",
        "no_healthy_upstream" => "UH",
        "circuit_open" => "UB",
        "upstream_overloaded" => "UO",
        "rate_limited" => "RL",
        "limit_unavailable" => "LU",
        "body_too_large" => "BL",
        "body_cut" | "body_cut_off" => "BC",
        "internal" | "internal_error" => "IE",
        code if code.starts_with("waf") => "WF",
        code if code.starts_with("worker_") => match &code[7..] {
            "timeout" => "WT",
            "overloaded" => "WO",
            _ => "WE",
        },
        _ => match status {
            401 | 403 | 407 => "UA",
            400..500 => "BR",
            _ => "ER",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;

    #[test]
    fn reasons_have_letters() {
        for (code, status, letters) in [
            ("client_closed", 499, "DC"),
            ("upstream_refused", 502, "UF"),
            ("worker_timeout", 504, "WT"),
            ("worker_", 500, "WE"),
            ("address_denied", 403, "UA"),
            ("bad_request", 400, "BR"),
            ("unheard_of", 503, "ER"),
            (Refusal::INTERNAL.code, 500, "IE"),
            (Refusal::RATE_LIMITED.code, 429, "RL"),
        ] {
            assert_eq!(of(code, status), letters, "{code}");
        }
    }
}
