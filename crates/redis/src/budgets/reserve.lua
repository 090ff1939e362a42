-- KEYS: the open holds by their expiry, the hold, the ids that have ended, and the accounts.
-- ARGV: the time or '', 'reserve' or 'extend', the id in hex and as bytes, the time to live in microseconds, least and most, for each
-- account its cap; then for each its name and its window.
-- Gives 1, the amount, and of each account spent, held and when it resets; or 0, the index of the one that has no room, and the
-- same of it; or -1 where the id has ended, -2 where it was posted as unreconciled, -3 where its accounts are others.
local now = time(ARGV[1])
local extends, ttl = ARGV[2] == 'extend', tonumber(ARGV[5])
local least_d, least_p = tonumber(ARGV[6]), tonumber(ARGV[7])
local most_d, most_p = tonumber(ARGV[8]), tonumber(ARGV[9])
local n = #KEYS - 3
local first = 10 + 2 * n

if redis.call('SISMEMBER', KEYS[3], ARGV[4]) == 1 then
  return { -1 }
end
local known = redis.call('HMGET', KEYS[2], 's', 'd', 'p', 'n')
if known[1] == 'u' then
  return { -2 }
end
local names = {}
for i = 1, n do
  names[i] = ARGV[first + 6 * (i - 1)]
end
names = table.concat(names, ' ')
local d, p = tonumber(known[2] or 0), tonumber(known[3] or 0)
if known[1] and known[4] ~= names then
  return { -3 }
end

local accounts = {}
for i = 1, n do
  accounts[i] = look(KEYS[3 + i], window_at(ARGV, first + 6 * (i - 1) + 1), now)
end
local function balance(answer, it)
  for _, value in ipairs({ it.sd, it.sp, it.hd, it.hp, resets_at(it) }) do
    answer[#answer + 1] = value
  end
end

local more_d, more_p = most_d, most_p
if known[1] and not extends then
  -- It is reserved already: the answer did not arrive.
  more_d, more_p = d, p
else
  -- A hold is one number, and stays one.
  local top_d, top_p = sub(TOP, 0, d, p)
  if less(top_d, top_p, more_d, more_p) then
    more_d, more_p = top_d, top_p
  end
  if less(more_d, more_p, least_d, least_p) then
    least_d, least_p = more_d, more_p
  end
  for i, it in ipairs(accounts) do
    local taken_d, taken_p = add(it.sd, it.sp, it.hd, it.hp)
    local room_d, room_p = sub(tonumber(ARGV[8 + 2 * i]), tonumber(ARGV[9 + 2 * i]), taken_d, taken_p)
    if less(room_d, room_p, least_d, least_p) then
      local answer = { 0, i - 1 }
      balance(answer, it)
      return answer
    end
    if less(room_d, room_p, more_d, more_p) then
      more_d, more_p = room_d, room_p
    end
  end
  for _, it in ipairs(accounts) do
    it.hd, it.hp = add(it.hd, it.hp, more_d, more_p)
    if not known[1] then
      it.o = it.o + 1
    end
    save(it)
  end
  d, p = add(d, p, more_d, more_p)
  if known[1] then
    redis.call('HSET', KEYS[2], 'd', d, 'p', p)
  else
    redis.call('HSET', KEYS[2], 's', 'o', 'd', d, 'p', p, 'n', names, 'l', table.concat(ARGV, ' ', first))
  end
  redis.call('ZADD', KEYS[1], now + ttl, ARGV[3])
end
local answer = { 1, more_d, more_p }
for _, it in ipairs(accounts) do
  balance(answer, it)
end
return answer
