-- Shared by the quota's scripts, which are appended to it.
-- KEYS[1] is a hash: `left` (tokens of the minute's bucket), `at` (when it was filled last, seconds), `held` (tokens
-- reserved now). KEYS[2] is a sorted set of reservations by the time at which they expire. An id begins with its tokens.

-- Redis' own time, which all replicas share, and the time of the last fill. Where that lies ahead, Redis' clock was set
-- back, or a server with another clock has become primary: the bucket goes on from now.
local function times()
  local time = redis.call('TIME')
  local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
  local before = tonumber(redis.call('HGET', KEYS[1], 'at') or now)
  if before > now then
    redis.call('HSET', KEYS[1], 'at', string.format('%.17g', now))
    before = now
  end
  return now, before
end

-- Takes reservations out, as far as they are there. Returns the tokens that are held afterwards, and those taken out.
local function release(ids)
  local held, released = tonumber(redis.call('HGET', KEYS[1], 'held') or 0), 0
  for _, id in ipairs(ids) do
    if redis.call('ZREM', KEYS[2], id) == 1 then released = released + tonumber(string.match(id, '^%d+')) end
  end
  held = math.max(held - released, 0)
  -- Redis may have evicted the set without the hash.
  if redis.call('EXISTS', KEYS[2]) == 0 then held = 0 end
  redis.call('HSET', KEYS[1], 'held', held)
  return held, released
end

-- Keeps both keys for so long after the last use.
local function keep(milliseconds)
  redis.call('PEXPIRE', KEYS[1], milliseconds)
  redis.call('PEXPIRE', KEYS[2], milliseconds)
end
