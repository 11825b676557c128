-- The Lua that Redis runs: 5.1, with what Redis adds, and without what it takes away.

std = {
  read_globals = {
    "KEYS", "ARGV", "cjson", "cmsgpack", "bit", "struct",
    redis = {
      fields = {
        "call", "pcall", "error_reply", "status_reply", "sha1hex", "log",
        "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING",
        "REDIS_VERSION", "REDIS_VERSION_NUM",
      },
    },
    "assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber", "tostring", "type", "unpack",
    math = { other_fields = true }, string = { other_fields = true }, table = { other_fields = true },
  },
}
max_line_length = 140
-- Not every script needs each field's place; and a part's parameters may be called what they are called outside.
ignore = { "211/[A-Z]+", "43." }
