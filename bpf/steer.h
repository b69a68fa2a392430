/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the XDP program and src/xdp/program.rs both know. Whoever changes one changes the other; the order of the
 * counters is held by tests/bpf_steer.rs.
 */
#ifndef FARWIRE_STEER_H
#define FARWIRE_STEER_H

/* The packet header as far as the program reads it (docs/WIRE.md): first byte = version << 4 | type,
 * bytes 2..4 = length of what lies between the header and the CRC or tag, big endian.
 */
#define FARWIRE_VERSION 1
#define FARWIRE_TYPE_OPEN 1
#define FARWIRE_TYPE_VERSION 15
#define FARWIRE_HEADER_LEN 16
#define FARWIRE_CRC_LEN 4

/* Why a frame went where it went: index into `counters`, one entry per CPU. */
enum steer_reason {
	STEERED = 0,       /* ours, or everything is: to the socket of its queue */
	NOT_OURS = 1,      /* another EtherType: to the kernel */
	RUNT = 2,          /* ours, but its header is not complete: to the kernel, which drops it */
	WRONG_VERSION = 3, /* ours, of a version that we do not speak, and not a packet that says so */
	BAD_LENGTH = 4,    /* ours, but claims more bytes than the frame has */
	NO_SOCKET = 5,     /* ours, but nobody listens on its queue */
	TOO_LONG = 6,      /* everything is ours, but this does not fit one chunk of the socket's memory */
	STEER_REASONS = 7,
};

#endif
