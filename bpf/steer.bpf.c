// SPDX-License-Identifier: MIT OR Apache-2.0
/* Steers our EtherType to the AF_XDP socket of the queue it arrived on; whatever else passes to the kernel, so that
 * SSH, ARP and TCP on the same interface keep working.
 *
 * A frame of ours that can't be one of ours (runt, wrong version, a length beyond its end) passes as well: no protocol
 * handler claims the EtherType, so the kernel drops it, and it has cost user space nothing.
 *
 * For a program that stands in for the cable itself (tools/linkem), everything goes to the socket.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "steer.h"

#ifndef VLAN_TAG_LEN
#define VLAN_TAG_LEN 4
#endif

/* Set by user space before the program is loaded. */
const volatile __u16 ethertype = 0x88B5;
/* Nonzero: every frame of up to this many bytes goes to the socket, whatever its EtherType. */
const volatile __u32 everything_up_to = 0;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 256); /* queues; user space raises it where the interface has more */
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline int verdict(enum steer_reason reason, int action)
{
	__u32 key = reason;
	__u64 *count = bpf_map_lookup_elem(&counters, &key);

	if (count)
		(*count)++;
	return action;
}

/* Whether user space must see the packet whatever its version: it answers an open, and explains a version. */
static __always_inline int understood_in_every_version(__u8 type)
{
	return type == FARWIRE_TYPE_OPEN || type == FARWIRE_TYPE_VERSION;
}

/* The lower bits of the flags are what is returned when the queue has no socket. */
static __always_inline int to_socket(struct xdp_md *ctx)
{
	int action = bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);

	return verdict(action == XDP_REDIRECT ? STEERED : NO_SOCKET, action);
}

SEC("xdp.frags")
int steer(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data;
	__u8 *end = (__u8 *)(long)ctx->data_end;
	/* Without CAP_PERFMON the verifier takes neither the difference of two pointers nor a pointer plus a variable.
	 * Hence a number beside the pointer, and the barriers, which keep the compiler from making one of the other.
	 */
	__u32 link_len = ETH_HLEN;
	__u8 *packet = data + ETH_HLEN;
	__u16 type;
	__u32 need;

	if (everything_up_to) {
		if (bpf_xdp_get_buff_len(ctx) > everything_up_to)
			return verdict(TOO_LONG, XDP_PASS);
		return to_socket(ctx);
	}

	barrier_var(packet);
	if (packet > end)
		return verdict(NOT_OURS, XDP_PASS);
	type = *(__be16 *)(packet - 2);
	if (type == bpf_htons(ETH_P_8021Q)) {
		packet = data + ETH_HLEN + VLAN_TAG_LEN;
		barrier_var(packet);
		if (packet > end)
			return verdict(NOT_OURS, XDP_PASS);
		type = *(__be16 *)(packet - 2);
		link_len += VLAN_TAG_LEN;
	}
	if (type != bpf_htons(ethertype))
		return verdict(NOT_OURS, XDP_PASS);

	if (packet + FARWIRE_HEADER_LEN > end)
		return verdict(RUNT, XDP_PASS);
	if (packet[0] >> 4 == FARWIRE_VERSION) {
		need = link_len + FARWIRE_HEADER_LEN + (packet[2] << 8 | packet[3]) + FARWIRE_CRC_LEN;
		/* The total, fragments included; Ethernet pads short frames, so more than needed is fine. */
		if (need > bpf_xdp_get_buff_len(ctx))
			return verdict(BAD_LENGTH, XDP_PASS);
	} else if (!understood_in_every_version(packet[0] & 0x0f)) {
		return verdict(WRONG_VERSION, XDP_PASS);
	}

	return to_socket(ctx);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
