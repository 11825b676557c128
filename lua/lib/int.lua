-- Integers travel as decimal strings: Lua's numbers print large ones in exponents. `%d` is half the work of `%.0f`, and
-- holds 64 bits wherever the server is a 64-bit program, which is asked at the connection (src/state/redis/facts.rs).
local function int(number)
  return string.format('%d', number)
end
