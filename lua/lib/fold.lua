-- What is to be folded, behind what the caller answers: kind, phase, record, position, games, results, and at most a thousand
-- entries; whoever folds comes again for the rest.
local function fold_view(run, pending, answer)
  local fields = redis.call('HMGET', run, 'kind', 'ph', 'rec', 'pos', 'ng', 'res')
  for i = 1, 6 do
    answer[#answer + 1] = fields[i]
  end
  for _, entry in ipairs(redis.call('LRANGE', pending, 0, 999)) do
    answer[#answer + 1] = entry
  end
  return answer
end
