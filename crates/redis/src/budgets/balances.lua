-- KEYS: accounts. ARGV: the time or '', then for each its name and its window.
-- Gives of each spent, held, of what is spent unreconciled, and when it resets.
local now = time(ARGV[1])
local answer = {}
for i, key in ipairs(KEYS) do
  local it = look(key, window_at(ARGV, 6 * i - 3), now)
  for _, value in ipairs({ it.sd, it.sp, it.hd, it.hp, it.ud, it.up, resets_at(it) }) do
    answer[#answer + 1] = value
  end
end
return answer
