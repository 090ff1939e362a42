-- KEYS: the clock, and a counter for each ask. ARGV: the time or '', the id, its lease in microseconds; then for each ask the
-- slice's length in microseconds (0 for places among calls that run), the amount, and the limit.
-- Gives 1 and the time, or 0, the index of the ask to wait for longest and its wait (-1: for ever); then for each ask what is used
-- and in what time none of it is.
local now = clock(ARGV[1])
local lease = tonumber(ARGV[3])
local EVER = math.huge
local seen, worst, at = {}, -1, 0

for i = 1, #KEYS - 1 do
  local key = KEYS[i + 1]
  local slice, amount, most = tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2]), tonumber(ARGV[3 * i + 3])
  local it, why
  if slice == 0 then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    it = { key = key, total = redis.call('ZCARD', key) }
    if most == 0 then
      why = EVER
    elseif it.total >= most then
      why = 1000000
    end
  else
    it = look(key, slice, now)
    local over = it.total - (most - amount)
    if most == 0 or amount > most then
      why = EVER
    elseif amount > 0 and over > 0 then
      local slices, leaving = scan(it), 0
      table.sort(slices, function(one, other) return one[1] < other[1] end)
      why = EVER
      for _, part in ipairs(slices) do
        leaving = leaving + part[2]
        if leaving >= over then
          why = math.max(left_at(it, part[1]) - now, 0)
          break
        end
      end
    end
  end
  it.concurrency, it.amount = slice == 0, amount
  seen[i] = it
  -- The rest is asked too: a wait must be long enough for all of them.
  if why and why > worst then
    worst, at = why, i
  end
end

local answer = { 1, now }
if at > 0 then
  answer = { 0, at - 1, worst == EVER and -1 or worst }
else
  for _, it in ipairs(seen) do
    if not it.concurrency then
      count(it, it.amount, now)
    else
      redis.call('ZADD', it.key, now + lease, ARGV[2])
      it.total = it.total + 1
      local ms = math.ceil(lease / 1000) + 1000
      if redis.call('PTTL', it.key) < ms then
        redis.call('PEXPIRE', it.key, ms)
      end
    end
  end
end
for _, it in ipairs(seen) do
  answer[#answer + 1] = it.total
  answer[#answer + 1] = it.concurrency and 0 or reset(it, now)
end
return answer
