-- KEYS: the open holds by their expiry. The holds and accounts that this finds there share its slot, as all keys of one prefix do.
-- ARGV: the time or '', in milliseconds how long an id is remembered, what names of holds and of accounts begin with, and the most
-- that are posted in one step. Gives how many were.
local now, remember = time(ARGV[1]), tonumber(ARGV[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[5])
for _, hex in ipairs(due) do
  local hold = ARGV[3] .. hex
  local known = redis.call('HMGET', hold, 'd', 'p', 'l')
  if known[1] then
    local d, p = tonumber(known[1]), tonumber(known[2])
    local list, buckets = lines_of(known[3]), {}
    for line = 1, #list, 6 do
      local it = look(ARGV[4] .. list[line], window_at(list, line + 1), now)
      it.o = math.max(it.o - 1, 0)
      it.hd, it.hp = sub(it.hd, it.hp, d, p)
      buckets[#buckets + 1] = string.format('%.0f', post_expired(it, d, p))
      save(it)
    end
    redis.call('HSET', hold, 's', 'u', 'b', table.concat(buckets, ' '))
    redis.call('PEXPIRE', hold, remember)
  end
  redis.call('ZREM', KEYS[1], hex)
end
return #due
