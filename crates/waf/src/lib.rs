//! Rules that tell attacks from requests, with anomaly scores, in linear time.
