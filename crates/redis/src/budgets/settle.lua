-- KEYS: the open holds by their expiry; then for each settlement the hold, the ids that have ended, and the accounts.
-- ARGV: the time or '', in milliseconds how long an id is remembered, what names of accounts begin with; then for each settlement the
-- id in hex and as bytes, 1 if it is posted as unreconciled, the charge, how many accounts there are, and of each its name and window.
-- Gives what is spent in each account after it, one settlement after the other.
local now, remember, prefix = time(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local at, key, answer = 4, 2, {}

-- Gives the accounts that it has looked at, by their names.
local function settle(hex, raw, flagged, d, p, n)
  local seen = {}
  local hold, ended = KEYS[key], KEYS[key + 1]
  if redis.call('SISMEMBER', ended, raw) == 1 then
    return seen
  end
  local known = redis.call('HMGET', hold, 's', 'd', 'p', 'n', 'l', 'b')
  local open, posted = known[1] == 'o', known[1] == 'u'
  if posted and flagged then
    return seen
  end
  local list, from, names = ARGV, at, {}
  for i = 1, n do
    names[i] = ARGV[at + 6 * (i - 1)]
  end
  names = table.concat(names, ' ')
  if known[4] and known[4] ~= names then
    -- It ends where it was made.
    list, from, names = lines_of(known[5]), 1, known[4]
    n = #list / 6
  end
  local was_d, was_p = tonumber(known[2] or 0), tonumber(known[3] or 0)
  local before = posted and lines_of(known[6]) or {}
  local buckets = {}
  for i = 1, n do
    local line = from + 6 * (i - 1)
    local it = look(prefix .. list[line], window_at(list, line + 1), now)
    if posted then
      correct(it, tonumber(before[i]), was_d, was_p, d, p)
    else
      if open then
        it.o = math.max(it.o - 1, 0)
        it.hd, it.hp = sub(it.hd, it.hp, was_d, was_p)
      end
      buckets[i] = string.format('%.0f', post(it, d, p, flagged and d or 0, flagged and p or 0))
    end
    save(it)
    seen[list[line]] = it
  end
  redis.call('ZREM', KEYS[1], hex)
  if flagged then
    local lines = table.concat(list, ' ', from, from + 6 * n - 1)
    redis.call('HSET', hold, 's', 'u', 'd', d, 'p', p, 'n', names, 'l', lines, 'b', table.concat(buckets, ' '))
    redis.call('PEXPIRE', hold, remember)
  else
    redis.call('DEL', hold)
    redis.call('SADD', ended, raw)
    redis.call('PEXPIRE', ended, remember)
  end
  return seen
end

while ARGV[at] do
  local hex, raw, flagged = ARGV[at], ARGV[at + 1], ARGV[at + 2] == '1'
  local d, p, n = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  at = at + 6
  local seen = settle(hex, raw, flagged, d, p, n)
  for i = 1, n do
    local line = at + 6 * (i - 1)
    local it = seen[ARGV[line]] or look(prefix .. ARGV[line], window_at(ARGV, line + 1), now)
    answer[#answer + 1], answer[#answer + 2] = it.sd, it.sp
  end
  at, key = at + 6 * n, key + 2 + n
end
return answer
