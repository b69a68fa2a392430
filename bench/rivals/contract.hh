// What the rivals written in C++ share: the options that `bench rival` hands over, the count at the receiver, the
// pattern of --verify, a UDP socket with large buffers, the loops of both ends, and the JSON. `bench rival` has checked
// the options; bench/src/rivals/contract.rs says what they mean.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

using Clock = std::chrono::steady_clock;
using std::chrono::duration;

// As in bench/src/rivals/contract.rs and ends.rs.
constexpr double PATIENCE_S = 30;
constexpr int SOCKET_BUFFER_BYTES = 8 << 20;
// How long a blocking call of a library may last before its end looks at the clock and for signals. Shorter costs CPU
// time, longer counts past the end.
constexpr int LOOK_MS = 20;

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline volatile sig_atomic_t stop_asked = 0;

inline double seconds_since(Clock::time_point start) { return duration<double>(Clock::now() - start).count(); }

struct Options {
    std::string rival, role, library;
    sockaddr_in address{};
    double seconds = 0, rtt_ms = 0;
    uint64_t bin_ms = 100, window_bytes = 0, rate_bps = 0;
    int mtu = 1500;
    bool verify = false;

    Options(int argc, char **argv) {
        std::map<std::string, std::string> told;
        for (int at = 1; at + 1 < argc; at += 2) told[argv[at]] = argv[at + 1];
        rival = told["--rival"], role = told["--role"], library = told["--library"];
        seconds = atof(told["--seconds"].c_str()), rtt_ms = atof(told["--rtt-ms"].c_str());
        bin_ms = strtoull(told["--bin-ms"].c_str(), nullptr, 10);
        window_bytes = strtoull(told["--window-bytes"].c_str(), nullptr, 10);
        rate_bps = strtoull(told["--rate-bps"].c_str(), nullptr, 10);
        mtu = atoi(told["--mtu"].c_str()), verify = told["--verify"] == "true";
        address.sin_family = AF_INET;
        address.sin_port = htons(uint16_t(atoi(told["--port"].c_str())));
        if (inet_pton(AF_INET, told["--host"].c_str(), &address.sin_addr) != 1)
            throw Failure("--host " + told["--host"] + " is no IPv4 address");
        if (seconds <= 0 || (role == "serve" && bin_ms == 0) || window_bytes == 0 || mtu < 1280)
            throw Failure("this program is started by `bench rival`, with all of its options");
    }

    int datagram_bytes() const { return mtu - 28; }
    // Packets that carry a window, at so many bytes of payload each.
    int window_packets(int payload_bytes) const { return int((window_bytes + payload_bytes - 1) / payload_bytes); }
    // How long a sender sends at most: two round trips, and a second for a first byte that has to be sent again.
    double most_seconds() const { return seconds + 2 * rtt_ms / 1e3 + 1; }
};

// Byte `offset` of the stream is a byte of the little-endian product of its word's number, counted from 1, and STEP.
class Pattern {
public:
    static void fill(uint64_t offset, char *bytes, size_t length) {
        for (size_t at = 0; at < length; at++) bytes[at] = byte(offset + at);
    }
    static uint64_t wrong(uint64_t offset, const char *bytes, size_t length) {
        uint64_t count = 0;
        for (size_t at = 0; at < length; at++) count += bytes[at] != byte(offset + at);
        return count;
    }

private:
    static constexpr uint64_t STEP = 0x9E3779B97F4A7C15;
    static char byte(uint64_t offset) { return char((offset / 8 + 1) * STEP >> offset % 8 * 8); }
};

// A JSON object under construction: text in quotes, numbers as they are.
class Json {
public:
    Json &text(const std::string &name, const std::string &value) {
        std::string safe;
        for (char letter : value) {
            if (letter == '"' || letter == '\\') safe += '\\';
            safe += (unsigned char)letter < ' ' ? ' ' : letter;
        }
        return raw(name, '"' + safe + '"');
    }
    Json &number(const std::string &name, double value) {
        char digits[32];
        snprintf(digits, sizeof digits, "%.15g", value);
        return raw(name, digits);
    }
    Json &flag(const std::string &name, bool value) { return raw(name, value ? "true" : "false"); }
    Json &raw(const std::string &name, const std::string &value) {
        fields += (fields.empty() ? "\"" : ",\"") + name + "\":" + value;
        return *this;
    }
    std::string done() const { return '{' + fields + '}'; }

private:
    std::string fields;
};

// What the receiving application got, in bins of time since its first byte.
class Inbox {
public:
    explicit Inbox(const Options &options)
        : options(options), bins(size_t(options.seconds * 1e3 / double(options.bin_ms) + 0.999999)) {}

    bool began() const { return counting; }
    bool over() const { return counting && seconds_since(first) >= options.seconds; }

    void on_payload(const char *payload, size_t length) {
        auto now = Clock::now();
        if (!counting) first = now, counting = true;
        size_t bin = size_t(duration<double>(now - first).count() * 1e3 / double(options.bin_ms));
        if (over() || bin >= bins.size()) return;
        if (options.verify)
            if (uint64_t wrong = Pattern::wrong(bytes, payload, length))
                throw Failure(std::to_string(wrong) + " of " + std::to_string(length) + " bytes at " +
                              std::to_string(bytes) + " are wrong");
        bytes += length;
        bins[bin] += length;
    }

    std::string report(const std::string &config, const std::string &error) const {
        std::string list;
        for (uint64_t bin : bins) list += (list.empty() ? "" : ",") + std::to_string(bin);
        double counted = counting ? std::min(seconds_since(first), options.seconds) : 0;
        Json json;
        json.text("rival", options.rival).text("role", "serve").number("bytes", double(bytes));
        json.number("seconds", counted).raw("bins_bytes", '[' + list + ']').number("bin_ms", double(options.bin_ms));
        json.flag("verified", options.verify && bytes > 0).raw("config", config);
        if (!error.empty()) json.text("error", error);
        return json.done();
    }

private:
    const Options &options;
    std::vector<uint64_t> bins;
    Clock::time_point first;
    uint64_t bytes = 0;
    bool counting = false;
};

// What the sending application writes: the same piece again and again, or with --verify the pattern.
class Outbox {
public:
    Outbox(const Options &options, size_t piece_bytes) : verify(options.verify), piece(piece_bytes) {
        Pattern::fill(0, piece.data(), piece.size());
    }
    const std::vector<char> &next_piece() {
        if (verify) Pattern::fill(bytes, piece.data(), piece.size());
        return piece;
    }
    void on_taken(size_t count) { bytes += count; }
    uint64_t bytes = 0;

private:
    bool verify;
    std::vector<char> piece;
};

// Makes the kernel's buffers of a UDP socket large; as large as the machine allows where it is not root's.
inline void enlarge_buffers(int socket) {
    int bytes = SOCKET_BUFFER_BYTES;
    if (setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
        setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes))
        setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

// A UDP socket: of the server at its address, of the sender anywhere.
inline int udp_socket(const Options &options) {
    int made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in own = options.address;
    if (options.role == "send") own.sin_port = 0, own.sin_addr.s_addr = INADDR_ANY;
    if (made < 0 || bind(made, reinterpret_cast<sockaddr *>(&own), sizeof own))
        throw Failure(std::string("the UDP socket cannot be bound: ") + strerror(errno));
    return made;
}

// A library with blocking calls that give up after LOOK_MS. It has
//   void listen();  bool accept();                 false: nobody yet
//   bool connect();                                false: not yet, try again
//   int receive(char *, int);                      0: nothing yet; throws Failure when the connection is gone
//   int transmit(const char *, int);               0: full; throws Failure when the connection is gone
//   size_t piece_bytes();                          what the application writes at once
//   std::string config();  void close();
template <class Library> void serve(Library &library, Inbox &inbox) {
    library.listen();
    fprintf(stderr, "ready\n");
    auto start = Clock::now();
    while (!stop_asked && !library.accept())
        if (seconds_since(start) > PATIENCE_S) throw Failure("no sender within 30 s");
    start = Clock::now();
    std::vector<char> buffer(1 << 20);
    while (!stop_asked && !inbox.over()) {
        int got = library.receive(buffer.data(), int(buffer.size()));
        if (got > 0) inbox.on_payload(buffer.data(), size_t(got));
        if (!inbox.began() && seconds_since(start) > PATIENCE_S) throw Failure("nothing arrived within 30 s");
    }
}

template <class Library> void send(const Options &options, Library &library, Outbox &outbox, double &connect_ms) {
    auto start = Clock::now();
    while (!library.connect()) {
        if (stop_asked) return;
        if (seconds_since(start) > PATIENCE_S) throw Failure("not connected within 30 s");
    }
    connect_ms = seconds_since(start) * 1e3;
    start = Clock::now();
    try {
        while (!stop_asked && seconds_since(start) < options.most_seconds()) {
            auto &piece = outbox.next_piece();
            outbox.on_taken(size_t(library.transmit(piece.data(), int(piece.size()))));
        }
    } catch (const Failure &) {
        // The receiver is done and gone. Before that it is a failure.
        if (seconds_since(start) < options.seconds) throw;
    }
}

// The whole program: what a library's main calls.
template <class Library> int run(int argc, char **argv) try {
    struct sigaction on_signal = {};
    on_signal.sa_handler = [](int) { stop_asked = 1; };
    sigaction(SIGTERM, &on_signal, nullptr);
    sigaction(SIGINT, &on_signal, nullptr);
    Options options(argc, argv);
    Library library(options);
    std::string error, report;
    if (options.role == "serve") {
        Inbox inbox(options);
        try {
            serve(library, inbox);
        } catch (const Failure &failure) {
            error = failure.what();
        }
        report = inbox.report(library.config(), error);
    } else {
        Outbox outbox(options, library.piece_bytes());
        double connect_ms = 0;
        try {
            send(options, library, outbox, connect_ms);
        } catch (const Failure &failure) {
            error = failure.what();
        }
        Json json;
        json.text("rival", options.rival).text("role", "send").number("connect_ms", connect_ms);
        json.number("bytes", double(outbox.bytes)).raw("config", library.config());
        if (!error.empty()) json.text("error", error);
        report = json.done();
    }
    library.close();
    printf("%s\n", report.c_str());
    fflush(stdout);
    if (!error.empty()) fprintf(stderr, "Error: %s\n", error.c_str());
    return error.empty() ? 0 : 1;
} catch (const Failure &failure) {
    fprintf(stderr, "Error: %s\n", failure.what());
    return 1;
}
