// UDT 4 (Debian's libudt-dev): one stream, its own congestion control (CUDTCC).
#include <udt/udt.h>

#include "contract.hh"

class Udt {
public:
    explicit Udt(const Options &options) : options(options) {
        UDT::startup();
        made = UDT::socket(AF_INET, SOCK_STREAM, 0);
        set(UDT_MSS, options.mtu, "UDT_MSS");
        // Before the buffers: they may not be larger than it.
        set(UDT_FC, packets(), "UDT_FC");
        set(UDT_SNDBUF, int(options.window_bytes), "UDT_SNDBUF");
        set(UDT_RCVBUF, packets() * payload(), "UDT_RCVBUF");
        set(UDP_SNDBUF, SOCKET_BUFFER_BYTES, "UDP_SNDBUF");
        set(UDP_RCVBUF, SOCKET_BUFFER_BYTES, "UDP_RCVBUF");
        // What is unsent at the end is not waited for.
        set(UDT_LINGER, linger{0, 0}, "UDT_LINGER");
        set(UDT_SNDTIMEO, LOOK_MS, "UDT_SNDTIMEO");
        set(UDT_RCVTIMEO, LOOK_MS, "UDT_RCVTIMEO");
        int udp = udp_socket(options);
        must(UDT::bind2(made, udp), "bind");
        // Once more: binding has set them to what anybody may have.
        enlarge_buffers(udp);
    }

    void listen() {
        set(UDT_RCVSYN, false, "UDT_RCVSYN");
        must(UDT::listen(made, 1), "listen");
    }

    bool accept() {
        UDTSOCKET taken = UDT::accept(made, nullptr, nullptr);
        if (taken == UDT::INVALID_SOCK) {
            if (UDT::getlasterror().getErrorCode() != CUDTException::EASYNCRCV) must(UDT::ERROR, "accept");
            usleep(1000);
            return false;
        }
        made = taken;
        set(UDT_RCVSYN, true, "UDT_RCVSYN");
        set(UDT_RCVTIMEO, LOOK_MS, "UDT_RCVTIMEO");
        return true;
    }

    bool connect() {
        auto *address = reinterpret_cast<const sockaddr *>(&options.address);
        must(UDT::connect(made, address, sizeof options.address), "connect");
        return true;
    }

    int receive(char *buffer, int length) {
        return moved(UDT::recv(made, buffer, length, 0), CUDTException::EASYNCRCV, "receive");
    }

    int transmit(const char *piece, int length) {
        return moved(UDT::send(made, piece, length, 0), CUDTException::EASYNCSND, "send");
    }

    size_t piece_bytes() const { return 1 << 16; }

    void close() {
        UDT::close(made);
        UDT::cleanup();
    }

    std::string config() const {
        Json json;
        json.text("library", options.library).text("congestion_control", "CUDTCC (UDT's own)");
        json.number("mss_bytes", options.mtu).number("flow_window_packets", packets());
        json.number("send_buffer_bytes", double(options.window_bytes));
        json.number("receive_buffer_bytes", packets() * payload());
        return json.number("socket_buffer_bytes", SOCKET_BUFFER_BYTES).flag("encrypted", false).done();
    }

private:
    // 16 bytes of UDT's header.
    int payload() const { return options.datagram_bytes() - 16; }
    int packets() const { return options.window_packets(payload()); }

    template <class Value> void set(UDTOpt option, Value value, const char *name) {
        must(UDT::setsockopt(made, 0, option, &value, sizeof value), name);
    }

    void must(int result, const char *what) {
        if (result == UDT::ERROR) throw Failure(std::string(what) + ": " + UDT::getlasterror().getErrorMessage());
    }

    int moved(int count, int would_block, const char *what) {
        if (count != UDT::ERROR) return count;
        int code = UDT::getlasterror().getErrorCode();
        if (code != would_block && code != CUDTException::ETIMEOUT) must(count, what);
        return 0;
    }

    const Options &options;
    UDTSOCKET made;
};

int main(int argc, char **argv) { return run<Udt>(argc, argv); }
