// ENet (Debian's libenet-dev): reliable packets on one channel. ENet fixes what a peer may have in flight at 64 KiB and
// lets an application set no more, so the public field `windowSize` of the peer is written over in every turn: the other
// side's bandwidth limits, which come every second, would set it back.
#include <enet/enet.h>

#include "contract.hh"

// One packet of the application; ENet cuts it into datagrams. Larger ones are delivered in larger steps, smaller ones
// cost more calls.
constexpr size_t PACKET_BYTES = 32 << 10;
// How much the sender keeps queued inside ENet beyond what is in flight: two milliseconds at 1 Gbit/s.
constexpr uint64_t QUEUED_BYTES = 256 << 10;
// ENet gives up on a peer after this long without an acknowledgement.
constexpr enet_uint32 TIMEOUT_MS = 60000;
// Sequence numbers in flight that ENet's receiver takes: 8 windows of 4096, one number a datagram.
constexpr uint64_t SEQUENCE_NUMBERS = 8 * 4096;

class Enet {
public:
    explicit Enet(const Options &options) : options(options) {
        if (enet_initialize()) throw Failure("enet_initialize failed");
        bool serves = options.role == "serve";
        ENetAddress own{options.address.sin_addr.s_addr, ntohs(options.address.sin_port)};
        host = enet_host_create(serves ? &own : nullptr, 1, 1, 0, 0);
        if (!host) throw Failure(std::string("the UDP socket cannot be bound: ") + strerror(errno));
        host->mtu = enet_uint32(options.datagram_bytes());
        host->maximumWaitingData = size_t(4 * options.window_bytes);
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
            dialled = enet_host_connect(host, &to, 1, 0);
            if (!dialled) throw Failure("enet_host_connect has no peer left");
        }
        wait();
        return peer != nullptr;
    }

    // One packet at a time, as ENet delivers them.
    int receive(char *buffer, int length) {
        if (!received) wait();
        if (!received) return 0;
        int count = int(std::min(received->dataLength, size_t(length)));
        memcpy(buffer, received->data, size_t(count));
        enet_packet_destroy(received);
        received = nullptr;
        return count;
    }

    int transmit(const char *piece, int length) {
        open_window();
        if (queued_bytes < window() + QUEUED_BYTES) {
            ENetPacket *packet = enet_packet_create(piece, size_t(length), ENET_PACKET_FLAG_RELIABLE);
            packet->userData = this;
            packet->freeCallback = [](ENetPacket *freed) {
                static_cast<Enet *>(freed->userData)->queued_bytes -= freed->dataLength;
            };
            queued_bytes += uint64_t(length);
            if (enet_peer_send(peer, 0, packet)) throw Failure("enet_peer_send failed: the peer is gone");
            // Fills the queue before it lets ENet work, which looks at its whole state each time.
            if (queued_bytes < window() + QUEUED_BYTES) return length;
            wait();
            return length;
        }
        wait();
        return 0;
    }

    void close() {
        if (peer) enet_peer_disconnect_now(peer, 0);
        enet_host_flush(host);
        enet_host_destroy(host);
    }

    std::string config() const {
        Json json;
        json.text("library", options.library).text("congestion_control", "none: a fixed window, throttle off");
        json.number("mtu_bytes", options.datagram_bytes()).number("window_bytes", double(window()));
        json.number("packet_bytes", PACKET_BYTES).number("timeout_ms", TIMEOUT_MS);
        return json.number("socket_buffer_bytes", SOCKET_BUFFER_BYTES).flag("encrypted", false).done();
    }

private:
    uint64_t window() const {
        return std::min(options.window_bytes, SEQUENCE_NUMBERS * uint64_t(options.datagram_bytes() - 40));
    }

    void open_window() {
        peer->windowSize = enet_uint32(window());
        // The share of the window that ENet lets itself use, in 32nds; it falls when the round trip grows.
        peer->packetThrottle = peer->packetThrottleLimit = ENET_PEER_PACKET_THROTTLE_SCALE;
    }

    // One turn of ENet: sends, receives, and takes what has happened.
    void wait() {
        ENetEvent event;
        int got = enet_host_service(host, &event, peer ? 1 : LOOK_MS);
        if (got < 0) throw Failure(std::string("enet_host_service: ") + strerror(errno));
        if (got == 0) return;
        if (event.type == ENET_EVENT_TYPE_CONNECT) {
            peer = event.peer;
            enet_peer_timeout(peer, 1000, TIMEOUT_MS, TIMEOUT_MS);
            enet_peer_throttle_configure(peer, ENET_PEER_PACKET_THROTTLE_INTERVAL, ENET_PEER_PACKET_THROTTLE_SCALE, 0);
            open_window();
        } else if (event.type == ENET_EVENT_TYPE_RECEIVE) {
            received = event.packet;
        } else if (event.type == ENET_EVENT_TYPE_DISCONNECT) {
            peer = nullptr;
            throw Failure("the peer is gone");
        }
    }

    const Options &options;
    ENetHost *host;
    ENetPeer *dialled = nullptr, *peer = nullptr;
    ENetPacket *received = nullptr;
    uint64_t queued_bytes = 0;
};

int main(int argc, char **argv) { return run<Enet>(argc, argv, PACKET_BYTES); }
