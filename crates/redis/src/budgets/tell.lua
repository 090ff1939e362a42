-- KEYS: an account for each mark. ARGV: the time or '', then for each mark the account's window, the mark's kind, the amount, and by
-- which hold in hex.
-- Gives of each 1 if it is to be told, 0 if it was told, -1 if it is not reached; what is spent; and when it may be told again, or -1.
--
-- What was told is in the account: under `m` and the kind the account's kind, the period or slice of that moment, the amount and the hold.
local now = time(ARGV[1])
local answer = {}

local function tell(key, at)
  local it = look(key, window_at(ARGV, at), now)
  local kind, by = 'm' .. ARGV[at + 5], ARGV[at + 8]
  local d, p = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  if not it.exists or less(it.sd, it.sp, d, p) then
    return -1, it, -1
  end
  local told, from = 1, it.kind == 'l' and 0 or it.x
  local known = redis.call('HGET', key, kind)
  if known then
    local as, x, d2, p2, by2 = string.match(known, '^(%S+) (%-?%d+) (%d+) (%d+) (%x+)$')
    x, d2, p2 = tonumber(x), tonumber(d2), tonumber(p2)
    local stands = as == it.kind and (it.window.kind ~= 'c' or x == it.x) and (it.window.kind ~= 'r' or it.x < x + SLICES)
    if stands and not less(d2, p2, d, p) then
      told, from = by == by2 and d == d2 and p == p2 and 1 or 0, x
    end
  end
  if told == 1 then
    redis.call('HSET', key, kind, string.format('%s %.0f %.0f %.0f %s', it.kind, from, d, p, by))
  end
  local again = -1
  if it.window.kind == 'c' then
    again = it.y
  elseif it.window.kind == 'r' then
    again = (from + SLICES) * it.window.a
  end
  return told, it, again
end

for i, key in ipairs(KEYS) do
  local told, it, again = tell(key, 9 * i - 7)
  for _, value in ipairs({ told, it.sd, it.sp, again }) do
    answer[#answer + 1] = value
  end
end
return answer
