-- KEYS: the open holds by their expiry; then for each hold that is due the hold, and its accounts.
-- ARGV: the time or '', in milliseconds how long an id is remembered; then for each hold its id in hex and what it says of its accounts.
-- Gives how many were posted. One that was renewed or has ended since is not due any more, and what changed since is for the next time.
local now, remember = time(ARGV[1]), tonumber(ARGV[2])
local key, many = 2, 0

local function expire(hex, lines)
  local hold, list, buckets = KEYS[key], lines_of(lines), {}
  local accounts = key
  key = key + 1 + #list / 6
  local until_ = tonumber(redis.call('ZSCORE', KEYS[1], hex))
  local known = redis.call('HMGET', hold, 'd', 'p', 'l')
  if not until_ or until_ > now or (known[3] or '') ~= lines then
    return
  end
  if known[1] then
    local d, p = tonumber(known[1]), tonumber(known[2])
    for line = 1, #list, 6 do
      accounts = accounts + 1
      local it = look(KEYS[accounts], window_at(list, line + 1), now)
      it.o = math.max(it.o - 1, 0)
      it.hd, it.hp = sub(it.hd, it.hp, d, p)
      buckets[#buckets + 1] = string.format('%.0f', post_expired(it, d, p))
      save(it)
    end
    redis.call('HSET', hold, 's', 'u', 'b', table.concat(buckets, ' '))
    redis.call('PEXPIRE', hold, remember)
  end
  redis.call('ZREM', KEYS[1], hex)
  many = many + 1
end

for at = 3, #ARGV, 2 do
  expire(ARGV[at], ARGV[at + 1])
end
return many
