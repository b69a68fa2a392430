// SRT (Debian's libsrt-openssl-dev) as a reliable stream: transmission type FILE with its FileCC, not encrypted. The
// rival srt-maxbw is told the link's rate (SRTO_MAXBW), as an SRT operator who knows it would.
#include <srt/srt.h>

#include "contract.hh"

// Share of the link's rate that srt-maxbw may take. Higher than what fits beside Ethernet's framing fills the queue
// until it drops, lower leaves some of the link unused.
constexpr double MAXBW_SHARE = 0.96;

class Srt {
public:
    explicit Srt(const Options &options) : options(options) {
        srt_startup();
        srt_setloglevel(LOG_CRIT);
        made = srt_create_socket();
        set(SRTO_TRANSTYPE, SRTT_FILE, "SRTO_TRANSTYPE");
        set(SRTO_MSS, options.mtu, "SRTO_MSS");
        // Before the buffers: they may not be larger than it.
        set(SRTO_FC, packets(), "SRTO_FC");
        set(SRTO_SNDBUF, int(options.window_bytes), "SRTO_SNDBUF");
        set(SRTO_RCVBUF, packets() * payload(), "SRTO_RCVBUF");
        set(SRTO_UDP_SNDBUF, SOCKET_BUFFER_BYTES, "SRTO_UDP_SNDBUF");
        set(SRTO_UDP_RCVBUF, SOCKET_BUFFER_BYTES, "SRTO_UDP_RCVBUF");
        // What is unsent at the end is not waited for.
        set(SRTO_LINGER, linger{0, 0}, "SRTO_LINGER");
        set(SRTO_CONNTIMEO, int(PATIENCE_S * 1e3), "SRTO_CONNTIMEO");
        set(SRTO_SNDTIMEO, LOOK_MS, "SRTO_SNDTIMEO");
        set(SRTO_RCVTIMEO, LOOK_MS, "SRTO_RCVTIMEO");
        if (maxbw() > 0) set(SRTO_MAXBW, maxbw(), "SRTO_MAXBW");
        int udp = udp_socket(options);
        must(srt_bind_acquire(made, udp), "bind");
        // Once more: binding has set them to what anybody may have.
        enlarge_buffers(udp);
    }

    void listen() {
        set(SRTO_RCVSYN, false, "SRTO_RCVSYN");
        must(srt_listen(made, 1), "listen");
    }

    bool accept() {
        SRTSOCKET taken = srt_accept(made, nullptr, nullptr);
        if (taken == SRT_INVALID_SOCK) {
            if (srt_getlasterror(nullptr) != SRT_EASYNCRCV) must(SRT_ERROR, "accept");
            usleep(1000);
            return false;
        }
        made = taken;
        set(SRTO_RCVSYN, true, "SRTO_RCVSYN");
        set(SRTO_RCVTIMEO, LOOK_MS, "SRTO_RCVTIMEO");
        return true;
    }

    bool connect() {
        auto *address = reinterpret_cast<const sockaddr *>(&options.address);
        must(srt_connect(made, address, sizeof options.address), "connect");
        return true;
    }

    int receive(char *buffer, int length) { return moved(srt_recv(made, buffer, length), "receive"); }
    int transmit(const char *piece, int length) { return moved(srt_send(made, piece, length), "send"); }

    size_t piece_bytes() const { return 1 << 16; }

    void close() {
        srt_close(made);
        srt_cleanup();
    }

    std::string config() const {
        Json json;
        json.text("library", options.library).text("transmission_type", "SRTT_FILE");
        json.text("congestion_control", "file (FileCC)").number("mss_bytes", options.mtu);
        json.number("flow_window_packets", packets()).number("send_buffer_bytes", double(options.window_bytes));
        json.number("receive_buffer_bytes", packets() * payload());
        json.number("socket_buffer_bytes", SOCKET_BUFFER_BYTES).flag("encrypted", false);
        if (maxbw() > 0) json.number("maxbw_bytes_per_second", double(maxbw()));
        return json.done();
    }

private:
    // 16 bytes of SRT's header.
    int payload() const { return options.datagram_bytes() - 16; }
    int packets() const { return options.window_packets(payload()); }

    // Bytes per second with IP and UDP headers, as SRT counts them; 0 where FileCC is to find it out.
    int64_t maxbw() const {
        return options.rival == "srt-maxbw" ? int64_t(double(options.rate_bps) / 8 * MAXBW_SHARE) : 0;
    }

    template <class Value> void set(SRT_SOCKOPT option, Value value, const char *name) {
        must(srt_setsockflag(made, option, &value, sizeof value), name);
    }

    void must(int result, const char *what) {
        if (result == SRT_ERROR) throw Failure(std::string(what) + ": " + srt_getlasterror_str());
    }

    int moved(int count, const char *what) {
        if (count != SRT_ERROR) return count;
        int code = srt_getlasterror(nullptr);
        if (code != SRT_EASYNCRCV && code != SRT_EASYNCSND && code != SRT_ETIMEOUT) must(count, what);
        return 0;
    }

    const Options &options;
    SRTSOCKET made;
};

int main(int argc, char **argv) { return run<Srt>(argc, argv); }
