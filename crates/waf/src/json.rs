//! Strings of JSON, with a bound on their number; no tree is built.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Calls `take` with the nearest name and each string; an error where the text is no JSON, or has too much in it.
pub(crate) fn strings(text: &[u8], values_max: usize, take: &mut dyn FnMut(&str, &str)) -> Result<(), ()> {
    let mut walk = Walk { take, left: values_max, name: String::new() };
    let mut reader = serde_json::Deserializer::from_slice(text);
    // serde_json bounds how deep it goes.
    Seed(&mut walk).deserialize(&mut reader).map_err(|_| ())?;
    reader.end().map_err(|_| ())
}

struct Walk<'a> {
    take: &'a mut dyn FnMut(&str, &str),
    left: usize,
    name: String,
}

struct Seed<'w, 'a>(&'w mut Walk<'a>);

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.left = self.0.left.checked_sub(1).ok_or_else(|| E::custom("too many values"))?;
        (self.0.take)(&self.0.name, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Seed(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            self.0.left = self.0.left.checked_sub(1).ok_or_else(|| A::Error::custom("too many values"))?;
            (self.0.take)(&name, &name);
            let outer = std::mem::replace(&mut self.0.name, name);
            map.next_value_seed(Seed(self.0))?;
            self.0.name = outer;
        }
        Ok(())
    }
}
