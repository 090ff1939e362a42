-- KEYS: the clock, and what ARGV names by its place among them. ARGV: the time or '', in milliseconds how long an id is remembered
-- as corrected; then for each change of each call
--   'f' key id                     frees a place
--   'o' key id                     begins the corrections of a call: they are done once
--   'g' key slice at amount        gives back what was counted at a time
--   'a' key slice amount           counts what was used beyond the estimate
local now = clock(ARGV[1])
local remember = tonumber(ARGV[2])
local at, once = 3, false

while ARGV[at] do
  local what, key = ARGV[at], KEYS[tonumber(ARGV[at + 1])]
  if what == 'f' then
    redis.call('ZREM', key, ARGV[at + 2])
    at = at + 3
  elseif what == 'o' then
    once = redis.call('SADD', key, ARGV[at + 2]) == 1
    redis.call('PEXPIRE', key, remember)
    at = at + 3
  elseif what == 'g' then
    local slice, amount = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 4])
    if once then
      local it = look(key, slice, now)
      local number = math.floor(tonumber(ARGV[at + 3]) / slice)
      local field = string.format('%.0f', number)
      local used = number == it.present and it.used or tonumber(redis.call('HGET', key, field) or 0)
      if used > 0 and it.present - number <= SLICES then
        local left = math.max(used - amount, 0)
        it.total = math.max(it.total - (used - left), 0)
        if left > 0 then
          redis.call('HSET', key, 't', it.total, field, left)
        else
          redis.call('HDEL', key, field)
          if number == it.newest then
            scan(it)
          end
          redis.call('HSET', key, 't', it.total, 'n', it.newest)
        end
      end
    end
    at = at + 5
  else
    if once then
      count(look(key, tonumber(ARGV[at + 2]), now), tonumber(ARGV[at + 3]), now)
    end
    at = at + 4
  end
end
return 1
