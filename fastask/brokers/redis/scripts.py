"""What Redis does in one step, as scripts of the server."""

from __future__ import annotations

__all__ = ["DROP", "MOVE", "PROMOTE", "SEND"]

SEND = """
local once = tonumber(ARGV[2])
if once > 0 and redis.call('EXISTS', KEYS[3]) == 1 then
    return 0
end
local delay = tonumber(ARGV[3])
if delay > 0 then
    local now = redis.call('TIME')
    local due = now[1] * 1000 + math.floor(now[2] / 1000) + delay
    redis.call('ZADD', KEYS[2], due, ARGV[4] .. ARGV[1])
else
    redis.call('XADD', KEYS[1], '*', 'data', ARGV[1])
end
if once > 0 then
    redis.call('SET', KEYS[3], '1', 'EX', once)
end
return 1
"""
"""Send a message: KEYS stream, delayed, once; ARGV data, seconds of once or 0, delay in
milliseconds, 32 characters that make it another member than an equal one. What was done
before an error stays done, so that it was sent is noted last."""

PROMOTE = """
local now = redis.call('TIME')
local due = now[1] * 1000 + math.floor(now[2] / 1000)
local members = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', due, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(members) do
    redis.call('XADD', KEYS[1], '*', 'data', string.sub(member, 33))
    redis.call('ZREM', KEYS[2], member)
end
local following = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
return following[2] and math.max(1, following[2] - due) or -1
"""
"""Make delayed messages due: KEYS stream, delayed; ARGV how many at most. Gives the
milliseconds until the next one is due, -1 if there is none."""

MOVE = """
for index = 6, #ARGV do
    local id = ARGV[index]
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if #pending > 0 and pending[1][2] == ARGV[2] then
        if ARGV[5] == '1' then
            redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, id,
                       'IDLE', ARGV[4], 'RETRYCOUNT', 0, 'JUSTID')
            redis.call('HDEL', KEYS[2], id)
        else
            redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, id, 'IDLE', ARGV[4], 'JUSTID')
        end
    end
end
"""
"""Give messages another consumer and idle time: KEYS stream, starts; ARGV group, consumer that
must have them, new consumer, milliseconds, 1 to forget their starts, entries."""

DROP = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #pending == 0 then
    return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
"""
"""Remove a consumer that has nothing, as what it has would be lost: KEYS stream; ARGV group,
consumer."""
