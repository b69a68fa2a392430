// ENet (Debian's libenet-dev): reliable packets. ENet fixes what a peer may have in flight at 64 KiB and lets an
// application set no more, so the public field `windowSize` of the peer is written over in every turn: the other side's
// bandwidth limits, which come every second, would set it back. It also keeps at most 4096 fragments of a channel in
// flight (469 Mbit/s at 100 ms), so the stream is dealt out to several channels and put together again by offset.
#include <enet/enet.h>

#include "contract.hh"

// One packet of the application: so many full datagrams, which ENet calls fragments. More are delivered in larger
// steps, fewer cost more calls.
constexpr size_t FRAGMENTS = 22;
// Headers of a datagram and of a fragment.
constexpr size_t HEADER_BYTES = 4 + 24;
// Fragments of one channel in flight, and how many windows more the channels have room for, behind one that is lost
// again and again.
constexpr uint64_t CHANNEL_FRAGMENTS = 4096, WAITING_WINDOWS = 4;
// Share of the link's rate, Ethernet's framing counted, at which datagrams leave where the rate is told, and how much
// of a time without sending is made up for. ENet paces nothing itself: a whole window at once overflows queues.
constexpr double PACE_SHARE = 0.97;
constexpr auto PACE_BURST = std::chrono::milliseconds(4);
constexpr int ETHERNET_BYTES = 38;
// ENet's timeout is the round trip and four times its variance, which falls to next to nothing on a steady link: then
// a host that waits for its core repeats a whole window. The least variance, as a part of the round trip (a sixteenth
// makes 1.25 round trips of timeout) and in ms. 5 % loss at 200 Mbit/s and 100 ms, one run each: 0.63 of the limit with
// a quarter, 0.75 with an eighth, 0.80 with a sixteenth, 0.69 with half of that.
constexpr enet_uint32 VARIANCE_PART = 16, VARIANCE_LEAST_MS = 10;
// How often everything sent is looked through for timeouts. ENet itself looks when the first of the list times out,
// which after some losses is one that was lost before and has twice the time: 0.50 of the limit instead of 0.63.
constexpr double TIMEOUT_LOOK_S = 0.005;
// What either end may hold of packets that are not whole, or not in order. What is lost several times waits for
// seconds, since ENet doubles its timeout. Less drops what has arrived.
constexpr size_t WAITING_MOST_BYTES = 512 << 20;
// ENet gives up on a peer after this long without an acknowledgement.
constexpr enet_uint32 TIMEOUT_MS = 60000;

class Enet {
public:
    explicit Enet(const Options &options) : options(options) {
        if (enet_initialize()) throw Failure("enet_initialize failed");
        bool serves = options.role == "serve";
        ENetAddress own{options.address.sin_addr.s_addr, ntohs(options.address.sin_port)};
        host = enet_host_create(serves ? &own : nullptr, 1, channels(), 0, 0);
        if (!host) throw Failure(std::string("the UDP socket cannot be bound: ") + strerror(errno));
        // The peer was made with ENet's own 1400.
        host->mtu = host->peers[0].mtu = enet_uint32(options.datagram_bytes());
        host->maximumWaitingData = WAITING_MOST_BYTES;
        enlarge_buffers(host->socket);
    }

    void listen() {}

    bool accept() {
        wait();
        return peer != nullptr;
    }

    bool connect() {
        if (!dialled) {
            ENetAddress to{options.address.sin_addr.s_addr, ntohs(options.address.sin_port)};
            dialled = enet_host_connect(host, &to, channels(), 0);
            if (!dialled) throw Failure("enet_host_connect has no peer left");
        }
        wait();
        return peer != nullptr;
    }

    // The packet that is next in the stream, if it has arrived.
    int receive(char *buffer, int length) {
        auto next = waiting.find(offset);
        if (next == waiting.end()) {
            wait();
            return 0;
        }
        ENetPacket *packet = next->second;
        waiting.erase(next);
        int count = int(packet->dataLength - sizeof offset);
        if (count <= 0 || count > length) throw Failure("a packet of " + std::to_string(packet->dataLength) + " bytes");
        memcpy(buffer, packet->data + sizeof offset, size_t(count));
        enet_packet_destroy(packet);
        offset += uint64_t(count);
        return count;
    }

    int transmit(const char *piece, int length) {
        open_window();
        bool full = peer->reliableDataInTransit >= window() || unfinished_bytes >= WAITING_MOST_BYTES;
        if (full || !paced()) {
            wait();
            return 0;
        }
        ENetPacket *packet = enet_packet_create(nullptr, sizeof offset + size_t(length), ENET_PACKET_FLAG_RELIABLE);
        memcpy(packet->data, &offset, sizeof offset);
        memcpy(packet->data + sizeof offset, piece, size_t(length));
        packet->userData = this;
        packet->freeCallback = [](ENetPacket *freed) {
            static_cast<Enet *>(freed->userData)->unfinished_bytes -= freed->dataLength;
        };
        unfinished_bytes += packet->dataLength;
        offset += uint64_t(length);
        enet_uint8 channel = enet_uint8(packets++ % peer->channelCount);
        if (enet_peer_send(peer, channel, packet)) throw Failure("enet_peer_send failed: the peer is gone");
        // ENet sends, and tells the pace what it has sent, in its turn.
        turn(0);
        return length;
    }

    size_t piece_bytes() const { return FRAGMENTS * fragment_bytes() - sizeof offset; }

    void close() {
        if (peer) enet_peer_disconnect_now(peer, 0);
        enet_host_flush(host);
        enet_host_destroy(host);
    }

    std::string config() const {
        Json json;
        json.text("library", options.library).text("congestion_control", "none: a fixed window, throttle off, paced");
        json.number("mtu_bytes", options.datagram_bytes()).number("window_bytes", double(window()));
        json.number("packet_bytes", double(FRAGMENTS * fragment_bytes())).number("channels", double(channels()));
        json.number("pace_packets_per_second", packet_s() > 0 ? 1 / packet_s() : 0);
        json.number("least_variance_of_round_trip", 1.0 / VARIANCE_PART);
        return json.number("socket_buffer_bytes", SOCKET_BUFFER_BYTES).flag("encrypted", false).done();
    }

private:
    // ENet multiplies it by 32, in 32 bits.
    uint64_t window() const { return std::min<uint64_t>(options.window_bytes, 127 << 20); }
    size_t fragment_bytes() const { return size_t(options.datagram_bytes()) - HEADER_BYTES; }
    size_t channels() const {
        uint64_t carry_window = window() / fragment_bytes() / CHANNEL_FRAGMENTS + 2;
        return std::min<size_t>(WAITING_WINDOWS * carry_window, ENET_PROTOCOL_MAXIMUM_CHANNEL_COUNT);
    }

    // Seconds that a full datagram takes at the pace; 0 without one.
    double packet_s() const {
        return options.rate_bps ? (options.mtu + ETHERNET_BYTES) * 8.0 / (double(options.rate_bps) * PACE_SHARE) : 0;
    }

    // Whether the pace allows another packet: everything that has left counts, what was sent again too.
    bool paced() {
        auto now = Clock::now();
        paced_until = std::max(paced_until, now - PACE_BURST);
        duration<double> sent(host->totalSentPackets * packet_s());
        paced_until += std::chrono::duration_cast<Clock::duration>(sent);
        host->totalSentPackets = 0;
        return paced_until <= now;
    }

    // Writes over those fields of the peer that stand in ENet's way.
    void open_window() {
        peer->windowSize = enet_uint32(window());
        // The share of the window that ENet lets itself use, in 32nds; it falls when the round trip grows.
        peer->packetThrottle = peer->packetThrottleLimit = ENET_PEER_PACKET_THROTTLE_SCALE;
        enet_uint32 least = std::max(peer->roundTripTime / VARIANCE_PART, VARIANCE_LEAST_MS);
        peer->roundTripTimeVariance = std::max(peer->roundTripTimeVariance, least);
        if (seconds_since(looked) > TIMEOUT_LOOK_S) looked = Clock::now(), peer->nextTimeout = host->serviceTime;
    }

    void wait() { turn(peer ? 1 : LOOK_MS); }

    // One turn of ENet: sends, receives, and takes what has happened.
    void turn(enet_uint32 most_ms) {
        ENetEvent event;
        int got = enet_host_service(host, &event, most_ms);
        if (got < 0) throw Failure(std::string("enet_host_service: ") + strerror(errno));
        if (got == 0) return;
        if (event.type == ENET_EVENT_TYPE_CONNECT) {
            peer = event.peer;
            enet_peer_timeout(peer, 1000, TIMEOUT_MS, TIMEOUT_MS);
            enet_peer_throttle_configure(peer, ENET_PEER_PACKET_THROTTLE_INTERVAL, ENET_PEER_PACKET_THROTTLE_SCALE, 0);
            // ENet begins with 500 ms, which delays the repetition of what is lost first.
            if (options.rtt_ms > 0) peer->roundTripTime = enet_uint32(options.rtt_ms) + 1;
            open_window();
        } else if (event.type == ENET_EVENT_TYPE_RECEIVE) {
            uint64_t at;
            if (event.packet->dataLength <= sizeof at) throw Failure("a packet without payload");
            memcpy(&at, event.packet->data, sizeof at);
            if (!waiting.emplace(at, event.packet).second) throw Failure("two packets for one place");
        } else if (event.type == ENET_EVENT_TYPE_DISCONNECT) {
            peer = nullptr;
            throw Failure("the peer is gone");
        }
    }

    const Options &options;
    ENetHost *host;
    ENetPeer *dialled = nullptr, *peer = nullptr;
    // Packets of other channels that have overtaken the next one, by their place in the stream.
    std::map<uint64_t, ENetPacket *> waiting;
    Clock::time_point paced_until, looked;
    uint64_t offset = 0, unfinished_bytes = 0, packets = 0;
};

int main(int argc, char **argv) { return run<Enet>(argc, argv); }
