//! Metrics as text: OpenMetrics, which has exemplars, and Prometheus' own format, which everything reads.

use std::fmt::{self, Write};

use crate::Registry;
use crate::http_metrics::{BOUNDS_US, HttpMetrics};

/// What metrics are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format.
    Prometheus,
}

impl Format {
    /// What a scraper would rather have, by its `Accept`. Who says nothing gets what everything reads.
    pub fn accepted(accept: &str) -> Self {
        let (mut open, mut plain) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok()).unwrap_or(1.0);
            match kind.as_str() {
                "application/openmetrics-text" => open = weight.max(open),
                "text/plain" => plain = weight.max(plain),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Everything that is measured, in a format.
pub fn exposition(registry: &Registry, http: &HttpMetrics, format: Format) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(32 * 1024);
    prometheus_client::encoding::text::encode_registry(&mut text, registry)?;
    // Beside the registry, whose histograms take no exemplars from elsewhere.
    http.write_histograms(&mut text)?;
    Ok(match format {
        Format::OpenMetrics => {
            text.push_str("# EOF\n");
            text
        }
        Format::Prometheus => prometheus(&text),
    })
}

/// What is in a registry, in OpenMetrics.
pub fn openmetrics(registry: &Registry) -> Result<String, fmt::Error> {
    exposition(registry, &HttpMetrics::default(), Format::OpenMetrics)
}

/// A request that a trace tells more about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// Of the trace.
    pub trace_id: u128,
    /// What the request took, microseconds.
    pub duration_us: u64,
    /// When it ended, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Begins a histogram in OpenMetrics.
pub(crate) fn write_head(out: &mut String, name: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}.\n# TYPE {name} histogram")
}

/// Writes one set of buckets of durations. `labels` is empty, or ends with a comma.
pub(crate) fn write_buckets(
    out: &mut String,
    name: &str,
    labels: &str,
    total_us: u64,
    buckets: impl Iterator<Item = (u64, Option<Exemplar>)>,
) -> fmt::Result {
    let mut count = 0;
    let bare = labels.trim_end_matches(',');
    for (n, (more, exemplar)) in buckets.enumerate() {
        count += more;
        write!(out, "{name}_bucket{{le=\"")?;
        match BOUNDS_US.get(n) {
            Some(us) => write!(out, "{:?}", *us as f64 / 1e6)?,
            None => out.push_str("+Inf"),
        }
        write!(out, "\"{}{bare}}} {count}", if bare.is_empty() { "" } else { "," })?;
        if let Some(Exemplar { trace_id, duration_us, at_ms }) = exemplar {
            let (seconds, ms) = (at_ms / 1000, at_ms % 1000);
            let value = duration_us as f64 / 1e6;
            write!(out, " # {{trace_id=\"{trace_id:032x}\"}} {value:?} {seconds}.{ms:03}")?;
        }
        out.push('\n');
    }
    let braces = if bare.is_empty() { String::new() } else { format!("{{{bare}}}") };
    writeln!(out, "{name}_sum{braces} {:?}\n{name}_count{braces} {count}", total_us as f64 / 1e6)
}

/// A label's value, as it stands between quotes.
pub(crate) fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Makes Prometheus' format of OpenMetrics: counters have their full names from the beginning, and there are no exemplars.
fn prometheus(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "gauge" | "histogram" | "summary" => ("", kind),
                _ => ("", "untyped"),
            };
            if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                let words = words.replace("\\\"", "\"");
                text.push_str(&format!("# HELP {name}{suffix} {words}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(without_exemplar(line));
            text.push('\n');
        }
    }
    text
}

/// A sample up to its value. Labels may have any characters in them.
fn without_exemplar(sample: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in sample.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return sample[..at].trim_end(),
            _ => {}
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_what_they_would_rather_have() {
        for (accept, format) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain", Format::Prometheus),
            ("application/openmetrics-text; version=1.0.0", Format::OpenMetrics),
            ("application/openmetrics-text;q=0, */*", Format::Prometheus),
            ("application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4", Format::Prometheus),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("Application/OpenMetrics-Text;q=x", Format::OpenMetrics),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn the_older_format_has_full_names_and_no_exemplars() {
        let open = "# HELP a_b Say \\\"b\\\".\n# TYPE a_b counter\n# UNIT a_b b\na_b_total{x=\"# {\\\"\"} 1 # {t=\"1\"} 2.0\n\
                    # HELP v V.\n# TYPE v info\nv_info{n=\"1\"} 1\n# TYPE u unknown\nu 1\n# EOF\n";
        assert_eq!(
            prometheus(open),
            "# HELP a_b_total Say \"b\".\n# TYPE a_b_total counter\na_b_total{x=\"# {\\\"\"} 1\n\
             # HELP v_info V.\n# TYPE v_info gauge\nv_info{n=\"1\"} 1\n# TYPE u untyped\nu 1\n"
        );
    }

    #[test]
    fn buckets_add_up_and_name_traces() {
        let mut text = String::new();
        let exemplar = Exemplar { trace_id: 10, duration_us: 120, at_ms: 5_007 };
        let buckets = (0..=BOUNDS_US.len()).map(|n| (1, (n == 1).then_some(exemplar)));
        write_buckets(&mut text, "d", "a=\"b\",", 1_500_000, buckets).unwrap();
        for line in [
            "d_bucket{le=\"0.0001\",a=\"b\"} 1",
            "d_bucket{le=\"0.00025\",a=\"b\"} 2 # {trace_id=\"0000000000000000000000000000000a\"} 0.00012 5.007",
            "d_bucket{le=\"+Inf\",a=\"b\"} 17",
            "d_sum{a=\"b\"} 1.5",
            "d_count{a=\"b\"} 17",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
