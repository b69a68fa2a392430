-- Wireshark dissector for farwire, as docs/WIRE.md has it.
--
-- Use: wireshark -X lua_script:tools/dissector/farwire.lua trace.pcapng, or copy it into Wireshark's plugin folder.
-- The EtherType is a preference of the protocol (0x88B5 unless changed).

local VERSION, HEADER_LEN, STREAM_HEADER_LEN, CRC_LEN, TAG_LEN = 1, 16, 16, 4, 16
local MAX_ACK_WORDS, MAX_REASON_LEN, MAX_NAME_LEN = 176, 256, 32

local TYPES = {
    [1] = "OPEN", [2] = "COOKIE", [3] = "ACCEPT", [4] = "CONFIRM", [5] = "DATA", [6] = "CONTROL", [7] = "PING",
    [8] = "PONG", [9] = "RESET", [10] = "QUERY", [11] = "ANNOUNCE", [12] = "ASK", [15] = "VERSION",
}
-- FIN 1, TRAILER 2, SEALED 4, key phase 64 and 128; types without an entry have none.
local FLAGS = {
    OPEN = 0x04, COOKIE = 0x04, ACCEPT = 0x04, RESET = 0x04, CONFIRM = 0xC4, DATA = 0xC7, CONTROL = 0xC4, PING = 0xC4,
    PONG = 0xC4, VERSION = 0xFF,
}
-- What ends with a tag instead of the CRC32C if it is sealed, everything behind its header encrypted.
local OF_CONNECTION = { CONFIRM = true, DATA = true, CONTROL = true, PING = true, PONG = true }
local ITEMS = {
    [1] = "ACK", [2] = "CONN_CREDIT", [3] = "STREAM_CREDIT", [4] = "STREAM_RESET", [5] = "STREAM_STOP",
    [6] = "STREAMS_LIMIT", [7] = "LOWEST", [8] = "FINISH", [9] = "CLOSE", [10] = "PROBE",
}
local RESETS = {
    [0] = "unknown connection", [1] = "not listening", [2] = "full", [3] = "key required", [4] = "plain only",
    [5] = "unknown key",
}

local farwire = Proto("farwire", "farwire transport")
local f = {
    version = ProtoField.uint8("farwire.version", "Version", base.DEC, nil, 0xF0),
    type = ProtoField.uint8("farwire.type", "Type", base.DEC, TYPES, 0x0F),
    flags = ProtoField.uint8("farwire.flags", "Flags", base.HEX),
    fin = ProtoField.bool("farwire.flags.fin", "FIN", 8, nil, 0x01),
    trailer = ProtoField.bool("farwire.flags.trailer", "TRAILER", 8, nil, 0x02),
    sealed = ProtoField.bool("farwire.flags.sealed", "SEALED", 8, nil, 0x04),
    reserved = ProtoField.uint8("farwire.flags.reserved", "Reserved", base.HEX, nil, 0x38),
    phase = ProtoField.uint8("farwire.flags.phase", "Key phase", base.DEC, nil, 0xC0),
    length = ProtoField.uint16("farwire.length", "Length"),
    conn = ProtoField.uint32("farwire.conn", "Connection id", base.HEX),
    number = ProtoField.uint64("farwire.number", "Packet number"),
    crc = ProtoField.uint32("farwire.crc", "CRC32C", base.HEX),
    crc_ok = ProtoField.bool("farwire.crc.ok", "CRC32C is right"),
    encrypted = ProtoField.bytes("farwire.encrypted", "Encrypted body"),
    tag = ProtoField.bytes("farwire.tag", "Tag"),
    key = ProtoField.bytes("farwire.key", "Key id"),
    mac = ProtoField.bytes("farwire.mac", "MAC"),
    ephemeral = ProtoField.bytes("farwire.noise.ephemeral", "Ephemeral public key"),
    message = ProtoField.bytes("farwire.noise.payload", "Encrypted terms and tag"),
    padding = ProtoField.bytes("farwire.padding", "Padding"),
    own_conn = ProtoField.uint32("farwire.open.conn", "Own connection id", base.HEX),
    nonce = ProtoField.uint64("farwire.nonce", "Nonce", base.HEX),
    has_cookie = ProtoField.bool("farwire.open.has_cookie", "Cookie present", 8, nil, 0x01),
    zero = ProtoField.bytes("farwire.reserved", "Reserved"),
    cookie = ProtoField.bytes("farwire.cookie", "Cookie"),
    mtu = ProtoField.uint16("farwire.mtu", "MTU"),
    streams = ProtoField.uint32("farwire.params.streams", "Streams"),
    idle = ProtoField.uint32("farwire.params.idle_timeout_ms", "Idle timeout (ms)"),
    conn_credit = ProtoField.uint64("farwire.params.conn_credit", "Connection credit (segments)"),
    stream_credit = ProtoField.uint64("farwire.params.stream_credit", "Stream credit (bytes)"),
    stream = ProtoField.uint32("farwire.stream", "Stream"),
    distance = ProtoField.uint32("farwire.lowest_distance", "Lowest distance"),
    lowest = ProtoField.uint64("farwire.lowest", "Lowest packet waited for"),
    offset = ProtoField.uint64("farwire.offset", "Offset"),
    payload = ProtoField.bytes("farwire.payload", "Payload"),
    payload_len = ProtoField.uint32("farwire.payload.length", "Payload length"),
    items_len = ProtoField.uint16("farwire.items.length", "Bytes of the items"),
    item = ProtoField.uint8("farwire.item", "Item", base.DEC, ITEMS),
    largest = ProtoField.uint64("farwire.ack.largest", "Largest"),
    delay = ProtoField.uint32("farwire.ack.delay_ns", "Delay (ns)"),
    floor = ProtoField.uint64("farwire.ack.floor", "Floor"),
    first_word = ProtoField.uint64("farwire.ack.first_word", "First word"),
    count = ProtoField.uint16("farwire.ack.count", "Words"),
    word = ProtoField.uint64("farwire.ack.word", "Word", base.HEX),
    segments = ProtoField.uint64("farwire.credit.segments", "Segments"),
    limit = ProtoField.uint64("farwire.credit.limit", "Limit"),
    streams_limit = ProtoField.uint64("farwire.credit.streams", "Streams"),
    code = ProtoField.uint32("farwire.code", "Code"),
    stream_segments = ProtoField.uint64("farwire.stream.segments", "Segments sent"),
    reason_len = ProtoField.uint16("farwire.close.length", "Bytes of the reason"),
    reason = ProtoField.string("farwire.close.reason", "Reason", base.UNICODE),
    ping_id = ProtoField.uint64("farwire.ping.id", "Ping id"),
    hold = ProtoField.uint32("farwire.ping.hold_ns", "Hold (ns)"),
    ping_padding = ProtoField.bytes("farwire.ping.padding", "Ping padding"),
    name = ProtoField.string("farwire.name", "Name", base.UNICODE),
    service = ProtoField.string("farwire.service", "Service", base.UNICODE),
    name_len = ProtoField.uint8("farwire.name.length", "Bytes of the name"),
    service_len = ProtoField.uint8("farwire.service.length", "Bytes of the service"),
    versions_len = ProtoField.uint8("farwire.versions.count", "Versions listed"),
    speaks = ProtoField.uint8("farwire.versions", "Speaks version"),
    reset = ProtoField.uint8("farwire.reset.code", "Reset code", base.DEC, RESETS),
    extra = ProtoField.bytes("farwire.extra", "Ignored bytes"),
}
farwire.fields = f

local e = {
    malformed = ProtoExpert.new("farwire.malformed", "malformed", expert.group.MALFORMED, expert.severity.ERROR),
    version = ProtoExpert.new("farwire.other_version", "another version", expert.group.PROTOCOL, expert.severity.WARN),
    crc = ProtoExpert.new("farwire.crc.bad", "CRC32C is wrong", expert.group.CHECKSUM, expert.severity.ERROR),
}
farwire.experts = e

farwire.prefs.ethertype = Pref.uint("EtherType", 0x88B5, "What frames of ours carry (decimal)")
farwire.prefs.check_crc = Pref.bool("Check the CRC32C", true, "Slow on long traces")

-- Lua 5.2 has bit32; Wireshark brings the other, whose results are signed.
local bits = bit32 or bit
local crc_table = {}
for index = 0, 255 do
    local value = index
    for _ = 1, 8 do
        local odd = value % 2 == 1
        value = bits.rshift(value, 1)
        if odd then value = bits.bxor(value, 0x82F63B78) end
    end
    crc_table[index] = value
end

local function crc32c(range)
    local bytes, sum = range:bytes(), 0xFFFFFFFF
    for index = 0, bytes:len() - 1 do
        local at = bits.band(bits.bxor(sum, bytes:get_index(index)), 0xFF)
        sum = bits.bxor(bits.rshift(sum, 8), crc_table[at])
    end
    return bits.bxor(sum, 0xFFFFFFFF) % 0x100000000
end

-- A body being read: fields are added to the tree one after another; past the end, an error is raised that the
-- dissector turns into expert information.
local Reader = {}
Reader.__index = Reader

local function reader(range)
    return setmetatable({ range = range, at = 0, len = range and range:len() or 0 }, Reader)
end

local function malformed(why) error({ why = why }, 0) end

function Reader:take(len)
    if self.at + len > self.len then malformed("cut off") end
    self.at = self.at + len
    return len > 0 and self.range(self.at - len, len) or nil
end

function Reader:add(tree, field, len)
    local range = self:take(len)
    if range then tree:add(field, range) end
    return range
end

function Reader:rest() return self.len - self.at end

function Reader:zeros(tree, len)
    local range = self:add(tree, f.zero, len)
    if range:bytes():tohex():find("[^0]") then malformed("reserved bytes are not zero") end
end

function Reader:done() if self:rest() > 0 then malformed("bytes behind the end") end end

local function params(tree, body)
    local sub = tree:add(farwire, body.range(body.at, math.min(28, body:rest())), "Params")
    body:add(sub, f.mtu, 2)
    body:zeros(sub, 2)
    body:add(sub, f.streams, 4)
    body:add(sub, f.idle, 4)
    body:add(sub, f.conn_credit, 8)
    body:add(sub, f.stream_credit, 8)
end

local item = {}

item[1] = function(tree, body)
    local largest = body:add(tree, f.largest, 8):uint64()
    body:add(tree, f.delay, 4)
    body:add(tree, f.floor, 8)
    local first = body:add(tree, f.first_word, 8):uint64()
    local count = body:add(tree, f.count, 2):uint()
    if count > MAX_ACK_WORDS then malformed("ACK has too many words") end
    for index = 0, count - 1 do
        local from = (first + index) * 64
        local range = body:take(8)
        tree:add(f.word, range):append_text((" (packets %s to %s)"):format(tostring(from), tostring(from + 63)))
    end
    return "largest " .. tostring(largest)
end
item[2] = function(tree, body) return tostring(body:add(tree, f.segments, 8):uint64()) end
item[3] = function(tree, body)
    local stream = body:add(tree, f.stream, 4):uint()
    return ("stream %d to %s"):format(stream, tostring(body:add(tree, f.limit, 8):uint64()))
end
item[4] = function(tree, body)
    local stream = body:add(tree, f.stream, 4):uint()
    local code = body:add(tree, f.code, 4):uint()
    local segments = body:add(tree, f.stream_segments, 8):uint64()
    return ("stream %d code %d after %s segments"):format(stream, code, tostring(segments))
end
item[5] = function(tree, body)
    local stream = body:add(tree, f.stream, 4):uint()
    return ("stream %d code %d"):format(stream, body:add(tree, f.code, 4):uint())
end
item[6] = function(tree, body) return tostring(body:add(tree, f.streams_limit, 8):uint64()) end
item[7] = function(tree, body) return tostring(body:add(tree, f.lowest, 8):uint64()) end
item[8] = function() return "" end
item[9] = function(tree, body)
    local code = body:add(tree, f.code, 4):uint()
    local len = body:add(tree, f.reason_len, 2):uint()
    if len > MAX_REASON_LEN then malformed("close reason too long") end
    local reason = body:add(tree, f.reason, len)
    return ("code %d %s"):format(code, reason and reason:string(ENC_UTF_8) or "")
end
item[10] = item[8]

local function items(tree, body, info)
    while body:rest() > 0 do
        local start = body.at
        local kind = body.range(start, 1):uint()
        local sub = tree:add(f.item, body:take(1))
        if not item[kind] then malformed("unknown item") end
        local text = item[kind](sub, body)
        sub:append_text(" " .. text)
        sub:set_len(body.at - start)
        info:append("; " .. ITEMS[kind]:lower() .. (text ~= "" and " " .. text or ""))
    end
end

-- A message of the handshake: what it says is for who holds the key.
local function noise(tree, body, len)
    body:add(tree, f.ephemeral, 32)
    body:add(tree, f.message, len - 32)
end

local content = {}

content.OPEN = function(tree, body, info, header)
    info:append((" from 0x%08x"):format(body:add(tree, f.own_conn, 4):uint()))
    body:add(tree, f.nonce, 8)
    local flags = body:add(tree, f.has_cookie, 1):uint()
    body:zeros(tree, 3)
    if header.sealed then
        info:append(" key " .. body:add(tree, f.key, 8):bytes():tohex(true))
        noise(tree, body, 80)
    else
        params(tree, body)
    end
    local cookie = body:add(tree, f.cookie, 24)
    if flags > 1 then malformed("flags of OPEN") end
    if flags == 0 and cookie:bytes():tohex():find("[^0]") then malformed("cookie without its flag") end
    if flags == 1 then info:append(" with cookie") end
    if header.sealed then body:add(tree, f.mac, 16) end
end
content.COOKIE = function(tree, body, _, header)
    body:add(tree, f.nonce, 8)
    body:add(tree, f.cookie, 24)
    if header.sealed then body:add(tree, f.mac, 16) end
end
content.ACCEPT = function(tree, body, info, header)
    if header.sealed then
        body:add(tree, f.nonce, 8)
        noise(tree, body, 84)
        body:add(tree, f.mac, 16)
        return
    end
    info:append((" from 0x%08x"):format(body:add(tree, f.own_conn, 4):uint()))
    body:add(tree, f.nonce, 8)
    params(tree, body)
end
content.CONFIRM = function(tree, body) body:add(tree, f.nonce, 8) end
content.DATA = function(tree, body, info, header)
    local sub = tree:add(farwire, body.range(0, math.min(STREAM_HEADER_LEN, body.len)), "Stream header")
    local stream = body:add(sub, f.stream, 4):uint()
    local distance = body:add(sub, f.distance, 4)
    if distance:uint() < 0xFFFFFFFF then
        sub:add(f.lowest, distance, header.number - distance:uint()):set_generated()
    end
    local offset = body:add(sub, f.offset, 8):uint64()
    local behind = 0
    if header.trailer then
        if body:rest() < 2 then malformed("no room for the trailer") end
        behind = body.range(body.len - 2, 2):uint() + 2
        if behind > body:rest() then malformed("trailer reaches into the stream header") end
    end
    local len = body:rest() - behind
    local payload = body:add(tree, f.payload, len)
    tree:add(f.payload_len, payload or body.range(0, 0), len):set_generated()
    local fin = header.fin and " fin" or ""
    info:append((" stream %d offset %s payload %d%s"):format(stream, tostring(offset), len, fin))
    if header.trailer then
        local count = behind - 2
        if count > 0 then items(tree, reader(body:take(count)), info) end
        body:add(tree, f.items_len, 2)
    end
end
content.CONTROL = items
content.PING = function(tree, body, info)
    info:append(" id " .. tostring(body:add(tree, f.ping_id, 8):uint64()))
    body:add(tree, f.hold, 4)
    body:add(tree, f.ping_padding, body:rest())
end
content.PONG = content.PING
content.RESET = function(tree, body, info, header)
    local code = body:add(tree, f.reset, 1):uint()
    if not RESETS[code] then malformed("code of a reset") end
    info:append(" " .. RESETS[code])
    if header.sealed then body:add(tree, f.mac, 16) else body:add(tree, f.extra, body:rest()) end
end
content.ASK = function(tree, body, info)
    info:append(" key " .. body:add(tree, f.key, 8):bytes():tohex(true))
    body:add(tree, f.nonce, 8)
    body:add(tree, f.mac, 16)
end
content.QUERY = function(tree, body, info)
    local range = body:take(76)
    tree:add(f.name, range)
    info:append(" " .. range:stringz(ENC_UTF_8))
end
content.ANNOUNCE = function(tree, body, info)
    body:add(tree, f.nonce, 8)
    body:add(tree, f.mtu, 2)
    local name_len = body:add(tree, f.name_len, 1):uint()
    local service_len = body:add(tree, f.service_len, 1):uint()
    if math.max(name_len, service_len) > MAX_NAME_LEN then malformed("name too long") end
    local name = body:add(tree, f.name, name_len)
    local service = body:add(tree, f.service, service_len)
    info:append((" %s %s"):format(name and name:string(ENC_UTF_8) or "", service and service:string(ENC_UTF_8) or ""))
end
content.VERSION = function(tree, body)
    local count = body:add(tree, f.versions_len, 1):uint()
    if count > 15 then malformed("more versions than there can be") end
    for _ = 1, count do body:add(tree, f.speaks, 1) end
    body:add(tree, f.extra, body:rest())
end

local function outer(tree, buffer)
    local sub = tree:add(farwire, buffer(0, HEADER_LEN), "Header")
    sub:add(f.version, buffer(0, 1))
    sub:add(f.type, buffer(0, 1))
    local flags = sub:add(f.flags, buffer(1, 1))
    flags:add(f.fin, buffer(1, 1))
    flags:add(f.trailer, buffer(1, 1))
    flags:add(f.sealed, buffer(1, 1))
    flags:add(f.reserved, buffer(1, 1))
    flags:add(f.phase, buffer(1, 1))
    sub:add(f.length, buffer(2, 2))
    sub:add(f.conn, buffer(4, 4))
    sub:add(f.number, buffer(8, 8))
    local first, bitset = buffer(0, 1):uint(), buffer(1, 1):uint()
    return {
        version = math.floor(first / 16), kind = TYPES[first % 16], flags = bitset, fin = bitset % 2 == 1,
        trailer = bitset % 4 >= 2, sealed = bitset % 8 >= 4, phase = math.floor(bitset / 64),
        length = buffer(2, 2):uint(), number = buffer(8, 8):uint64(),
    }
end

local function checksum(tree, buffer, stop)
    if buffer:len() < stop + CRC_LEN then malformed("cut off before the CRC32C") end
    local range = buffer(stop, CRC_LEN)
    local sub = tree:add(f.crc, range)
    if farwire.prefs.check_crc then
        local right = crc32c(buffer(0, stop)) == range:uint()
        sub:add(f.crc_ok, range, right):set_generated()
        if not right then sub:add_proto_expert_info(e.crc) end
    end
    if buffer:len() > stop + CRC_LEN then tree:add(f.padding, buffer(stop + CRC_LEN)) end
end

-- A packet that only its receiver can open.
local function sealed(tree, buffer, stop, header, info)
    if buffer:len() < stop + TAG_LEN then malformed("cut off before the tag") end
    if header.length > 0 then tree:add(f.encrypted, buffer(HEADER_LEN, header.length)) end
    tree:add(f.tag, buffer(stop, TAG_LEN))
    if buffer:len() > stop + TAG_LEN then tree:add(f.padding, buffer(stop + TAG_LEN)) end
    local flags = (header.fin and " fin" or "") .. (header.trailer and " trailer" or "")
    info:append((" sealed, phase %d, %d bytes%s"):format(header.phase, header.length, flags))
end

local function dissect(buffer, tree, info)
    if buffer:len() < HEADER_LEN then malformed("shorter than a header") end
    local header = outer(tree, buffer)
    local foreign = header.version ~= VERSION and header.kind ~= "VERSION"
    info:set(foreign and ("version %d"):format(header.version) or header.kind or "?")
    if foreign then return tree:add_proto_expert_info(e.version) end
    if not header.kind then malformed("unknown type") end
    info:append((" 0x%08x #%s"):format(buffer(4, 4):uint(), tostring(header.number)))
    local foreign_flags = bits.band(header.flags, bits.bxor(FLAGS[header.kind] or 0, 0xFF)) ~= 0
    if header.kind ~= "VERSION" and not header.sealed and header.phase > 0 then foreign_flags = true end
    if foreign_flags then malformed("flags") end
    local stop = HEADER_LEN + header.length
    if buffer:len() < stop then malformed("shorter than its length says") end
    if header.sealed and OF_CONNECTION[header.kind] then return sealed(tree, buffer, stop, header, info) end
    local body = reader(header.length > 0 and buffer(HEADER_LEN, header.length) or nil)
    if body.len > 0 or header.kind ~= "CONTROL" then
        if body.len == 0 then malformed("no body") end
        content[header.kind](tree, body, info, header)
        body:done()
    end
    checksum(tree, buffer, stop)
end

function farwire.dissector(buffer, pinfo, root)
    pinfo.cols.protocol = "farwire"
    local tree = root:add(farwire, buffer:len() > 0 and buffer() or nil)
    local info = { text = "" }
    function info:set(text) self.text = text end
    function info:append(text) self.text = self.text .. text end
    local ok, problem = pcall(dissect, buffer, tree, info)
    if not ok then
        if type(problem) ~= "table" then error(problem, 0) end
        tree:add_proto_expert_info(e.malformed, "malformed: " .. problem.why)
        info:append(" [" .. problem.why .. "]")
    end
    pinfo.cols.info = info.text
    return buffer:len()
end

local ethertypes, registered = DissectorTable.get("ethertype"), nil
local function register()
    if registered then ethertypes:remove(registered, farwire) end
    registered = farwire.prefs.ethertype
    ethertypes:add(registered, farwire)
end
farwire.prefs_changed = register
register()
