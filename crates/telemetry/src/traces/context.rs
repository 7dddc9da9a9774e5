//! W3C Trace Context: which trace a request is part of.

/// What `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Of the whole trace; not 0.
    pub trace_id: u128,
    /// Of the caller's span; not 0.
    pub span_id: u64,
    /// The caller keeps its part.
    pub sampled: bool,
}

/// Length of version 00.
const LENGTH: usize = 55;

impl TraceContext {
    /// Reads a field's value (Trace Context, section 3.2.2). What is malformed counts as absent.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let head = value.get(..LENGTH)?;
        let version = hex(&head[..2])?;
        // Later versions may go on after a dash.
        let goes_on = value.get(LENGTH);
        if version == 0xff || (version == 0 && goes_on.is_some()) || goes_on.is_some_and(|next| *next != b'-')
        {
            return None;
        }
        if head[2] != b'-' || head[35] != b'-' || head[52] != b'-' {
            return None;
        }
        let (trace_id, span_id) = (hex(&head[3..35])?, hex(&head[36..52])? as u64);
        let flags = hex(&head[53..55])?;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// The field's value.
    pub fn text(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// Digits in lower case, as the standard has them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standards_example() {
        let context = TraceContext::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(context.text(), GOOD);
        assert!(context.sampled);
        let unsampled = GOOD.replace("-01", "-fe");
        assert!(!TraceContext::parse(unsampled.as_bytes()).unwrap().sampled);
        let later = format!("{}-what comes", GOOD.replacen("00", "01", 1));
        assert!(TraceContext::parse(later.as_bytes()).is_some());
    }

    #[test]
    fn what_is_malformed_counts_as_absent() {
        let zeros = "0".repeat(32);
        for wrong in [
            "".into(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-"),
            format!("{GOOD}0"),
            GOOD.to_uppercase(),
            GOOD.replacen("00", "ff", 1),
            GOOD.replacen('-', "_", 1),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros),
            GOOD.replace("00f067aa0ba902b7", &zeros[..16]),
            "0".repeat(100_000),
        ] {
            assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{:.80}", wrong);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace_id in 1u128.., span_id in 1u64.., sampled: bool) {
            let context = TraceContext { trace_id, span_id, sampled };
            prop_assert_eq!(TraceContext::parse(context.text().as_bytes()), Some(context));
        }

        #[test]
        fn nothing_panics(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            TraceContext::parse(&value);
        }
    }
}
