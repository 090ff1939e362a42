-- KEYS: holds. Gives of each its accounts and their windows, or nothing where there is none.
local answer = {}
for i, hold in ipairs(KEYS) do
  answer[i] = redis.call('HGET', hold, 'l') or ''
end
return answer
