-- Of `there`, the generation's fields: refuses another one.
if there[1] ~= ARGV[1] then
  return { 'WRONGGEN', there[1] }
end
--@ serves
if not serves then
  return { 'FOREIGN' }
end
