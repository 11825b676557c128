//! A small JSON object, written straight into the answer's bytes.

use serde::Serialize;

use crate::sys::clock::stopwatch;

/// An object under construction; keys come in the order in which they are added.
pub struct Object {
    out: Vec<u8>,
}

impl Object {
    /// An empty object.
    pub fn new() -> Self {
        let mut out = Vec::with_capacity(128);
        out.push(b'{');
        Self { out }
    }

    /// Adds a value that serde knows how to write.
    pub fn value<T: Serialize + ?Sized>(self, key: &str, value: &T) -> Self {
        // Writing a string, a number or a plain record to memory does not fail.
        self.raw(key, |out| drop(serde_json::to_writer(out, value)))
    }

    /// Adds a value that `write` appends.
    pub fn raw(mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        drop(serde_json::to_writer(&mut self.out, key));
        self.out.push(b':');
        write(&mut self.out);
        self
    }

    /// The last key of every answer: seconds since `began`, to the microsecond.
    pub fn duration(self, began: Began) -> Vec<u8> {
        let seconds = began.micros() as f64 / 1e6;
        self.value("duration", &seconds).finish()
    }

    /// The object as it is.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

/// When the handling of a request began.
#[derive(Debug, Clone, Copy)]
pub struct Began(std::time::Instant);

impl Began {
    /// Now.
    pub fn now() -> Self {
        Self(stopwatch())
    }

    /// Time since.
    pub fn elapsed(self) -> std::time::Duration {
        self.0.elapsed()
    }

    fn micros(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_and_the_duration_is_a_float() {
        let bytes = Object::new().value("task_alive", &false).value("info", "a \"b\"").duration(Began::now());
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with(r#"{"task_alive":false,"info":"a \"b\"","duration":"#), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(json["duration"].is_f64());
        assert!(Object::new().duration(Began::now()).starts_with(br#"{"duration":"#));
    }
}
