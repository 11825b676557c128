//! All that a farm has on a server, to be compared and put back.

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;

/// Each key's value, as the server would save it, and when it expires (-1: never).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture(BTreeMap<Vec<u8>, (Vec<u8>, i64)>);

/// Compact encodings whatever the size: a table's entries stay where they are, so that what is alike is saved alike.
pub const COMPACT: &str = "hash-max-ziplist-entries 1000000\nhash-max-ziplist-value 1000000\n\
                           zset-max-ziplist-entries 1000000\nzset-max-ziplist-value 1000000\n";

const TAKE: &str = "
local answer = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  answer[#answer + 1] = { key, redis.call('DUMP', key), redis.call('PEXPIRETIME', key) }
end
return answer";

impl Picture {
    /// Of the keys with a prefix. Needs Redis 7 or Valkey: older ones don't tell when exactly a key expires.
    pub async fn take(server: &mut MultiplexedConnection, prefix: &str) -> Self {
        let keys: Vec<(Vec<u8>, Vec<u8>, i64)> =
            redis::cmd("EVAL").arg(TAKE).arg(0).arg(format!("{prefix}*")).query_async(server).await.unwrap();
        Self(keys.into_iter().map(|(key, value, expires)| (key, (value, expires))).collect())
    }

    /// The keys that differ.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let there = self.0.keys().chain(now.0.keys());
        let mut differing: Vec<&Vec<u8>> = there.filter(|key| self.0.get(*key) != now.0.get(*key)).collect();
        differing.sort();
        differing.dedup();
        differing.into_iter().map(|key| String::from_utf8(key.clone()).unwrap()).collect()
    }

    /// Makes everything as it was.
    pub async fn put_back(&self, server: &mut MultiplexedConnection, now: &Self) {
        let mut commands = redis::pipe();
        let changes = self.changes(now);
        for key in &changes {
            commands.cmd("DEL").arg(key).ignore();
            if let Some((value, expires)) = self.0.get(key.as_bytes()) {
                let expires = (*expires).max(0);
                commands.cmd("RESTORE").arg(key).arg(expires).arg(&value[..]).arg("ABSTTL").ignore();
            }
        }
        if !changes.is_empty() {
            commands.query_async::<()>(server).await.unwrap();
        }
    }
}
