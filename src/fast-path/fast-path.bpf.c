// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
//
// The fast path: packets between containers of different hosts, past bridge, netfilter and the vxlan device, on flannel's
// wire. script/generate-bpf compiles it into fast-path-program.ts. model.ts says the same decisions in TypeScript, and a
// test holds both against each other.
//
//   container ─ veth ──[from_container]──▶ VXLAN ─▶ underlay      what a fresh flow sends
//   underlay ──[from_wire]──▶ no VXLAN ─▶ veth ─ container        what a fresh flow receives
//   vxlan device, egress ──[note_out]      the host's rules let this out: the flow is fresh
//   veth, egress ──────────[note_in]       the host's rules let this in: the flow is fresh
//
// A flow is the packets of one direction (addresses, ports, protocol). It is fresh for a moment (`fresh_ns`) after one of its packets went
// the whole way through the host and came out unchanged. Before that is over, one packet goes that way again. So a new rule of the user's holds for
// running flows, too, and whatever is translated (DNAT, masquerade) never goes fast: it does not come out as it went in.
//
// What is not plain goes the slow way: it is left as it is, and the next program has its turn (TCX_NEXT, which for
// clsact is TC_ACT_UNSPEC).

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define BARRIER __asm__ volatile("" ::: "memory")
#define be16(x) ((__be16)__builtin_bswap16(x))
#define be32(x) ((__be32)__builtin_bswap32(x))
#define SLOW TC_ACT_UNSPEC
#define AF_INET 2

// The kernel's functions, by number (enum bpf_func_id of linux/bpf.h; bpf-helpers(7)).
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) =
    (void *)BPF_FUNC_map_update_elem;
static __u64 (*bpf_ktime_get_coarse_ns)(void) = (void *)BPF_FUNC_ktime_get_coarse_ns;
static __u32 (*bpf_get_prandom_u32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static __u32 (*bpf_get_hash_recalc)(struct __sk_buff *packet) = (void *)BPF_FUNC_get_hash_recalc;
static long (*bpf_skb_pull_data)(struct __sk_buff *packet, __u32 size) = (void *)BPF_FUNC_skb_pull_data;
static long (*bpf_skb_adjust_room)(struct __sk_buff *packet, __s32 bytes, __u32 mode, __u64 flags) =
    (void *)BPF_FUNC_skb_adjust_room;
static long (*bpf_check_mtu)(void *packet, __u32 ifindex, __u32 *mtu, __s32 more, __u64 flags) =
    (void *)BPF_FUNC_check_mtu;
static long (*bpf_fib_lookup)(void *packet, struct bpf_fib_lookup *params, int size, __u32 flags) =
    (void *)BPF_FUNC_fib_lookup;
static long (*bpf_redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *params, int size, __u64 flags) =
    (void *)BPF_FUNC_redirect_neigh;
static long (*bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect_peer;

// The maps are made by the loader, with the layouts of map-layouts.ts. Here they are names.
struct map {
  int unused;
};
struct map settings SECTION("maps");
struct map peers SECTION("maps");
struct map locals SECTION("maps");
struct map edition SECTION("maps");
struct map flows SECTION("maps");
struct map counts SECTION("maps");

struct settings {
  __u32 underlay;  // ifindex
  __u32 tunnel;    // ifindex of the vxlan device
  __be32 vtep;     // this host's
  __be32 vni;      // as in the VXLAN header: shifted by 8 bits
  __u64 fresh_ns;  // 0: everything goes the slow way
  __u32 generation;
  __be16 port;
  __u8 mac[ETH_ALEN];  // of the vxlan device
  __u32 flags;
};
#define TCP_GOES_FAST 1

struct subnet {  // key of a longest-prefix-match trie
  __u32 length;
  __be32 address;
};
struct peer {
  __be32 vtep;
  __u8 mac[ETH_ALEN];
  __u8 unused[2];
};
struct local {
  __u32 ifindex;  // of the host's end of the veth pair
  __u8 mac[ETH_ALEN];
  __u8 unused[2];
};
struct flow {
  __be32 source, destination;
  __be32 ports;
  __u32 protocol;
};
// Where a flow's packets go. The first fast packet looks it up for those behind it.
struct way {
  __u32 mark;          // of what it was looked up for: see mark_of. 0: not looked up
  __u32 ifindex;       // of the host's end of the container's veth pair
  __be32 vtep;         // the peer's
  __be32 next_hop;     // to the peer's VTEP; 0: the kernel looks for the route
  __u8 mac[ETH_ALEN];  // that the inner frame is sent to
  __u8 unused[2];
};
struct noted {
  __u64 at;  // CLOCK_MONOTONIC_COARSE
  __u32 generation;
  __u32 renewing;  // a packet is on its way through the rules
  struct way way;
};

enum direction { OUT = 1, IN = 2 };

// In the order of COUNTS in map-layouts.ts.
enum count {
  ENCAPSULATED,
  DECAPSULATED,
  NOTED,
  NOT_FRESH_OUT,
  NOT_FRESH_IN,
  OPENING_OR_CLOSING,
  OTHER_PROTOCOL,
  TCP_IS_SLOW,
  UNUSUAL,
  TOO_LONG,
  CONGESTION,
  WRONG_SOURCE_OUT,
  WRONG_SOURCE_IN,
  FAILED,
  PLAIN,  // counted nowhere: the packet may go fast
};

struct vxlan {
  __be32 flags;
  __be32 vni;
};
// What flannel's wire has in front of an inner frame.
struct outer {
  struct ethhdr ethernet;
  struct iphdr ip;
  struct udphdr udp;
  struct vxlan vxlan;
} __attribute__((packed));

#define OUTER ((int)sizeof(struct outer))
#define VXLAN_HAS_VNI be32(0x08000000)
#define ANY_FRAGMENT be16(0x3fff)  // more fragments follow, or there is an offset
#define ECN 3
#define ECN_ECT0 2
#define ECN_CE 3
#define OUTER_TTL 64
#define LONGEST 65535
#define SHORT 200  // bytes of an acknowledgement in VXLAN, with options

INLINE void count(__u32 what) {
  __u64 *counter = bpf_map_lookup_elem(&counts, &what);
  if (counter) *counter += 1;
}

INLINE int slow(__u32 why) {
  count(why);
  return SLOW;
}

INLINE struct settings *read_settings(void) {
  __u32 key = 0;
  return bpf_map_lookup_elem(&settings, &key);
}

INLINE struct peer *find_peer(__be32 address) {
  struct subnet key = {32, address};
  struct peer *peer = bpf_map_lookup_elem(&peers, &key);
  return peer && peer->vtep ? peer : 0;
}

// The packet's first bytes where the program can read them; null when it has fewer.
INLINE void *header(struct __sk_buff *packet, __u32 size) {
  if ((void *)(long)packet->data + size > (void *)(long)packet->data_end && bpf_skb_pull_data(packet, size))
    return 0;
  void *data = (void *)(long)packet->data;
  return data + size <= (void *)(long)packet->data_end ? data : 0;
}

INLINE int same_mac(const __u8 *a, const __u8 *b) {
  return *(__u32 *)a == *(__u32 *)b && *(__u16 *)(a + 4) == *(__u16 *)(b + 4);
}

// Untagged IPv4 as far as the outermost header says.
INLINE int is_ipv4(struct __sk_buff *packet) {
  return !packet->vlan_present && packet->protocol == be16(ETH_P_IP);
}

// What the packet with its IP header at `offset` is: PLAIN with its flow, or the count of what is in the way. The caller
// has made sure of 8 bytes after the IP header.
INLINE __u32 judge(struct __sk_buff *packet, struct settings *set, __u32 offset, int must_live, struct flow *flow) {
  void *data = (void *)(long)packet->data, *end = (void *)(long)packet->data_end;
  struct iphdr *ip = data + offset;
  if ((void *)(ip + 1) + sizeof(struct udphdr) > end) return UNUSUAL;
  if (ip->version != 4 || ip->ihl != 5 || (ip->frag_off & ANY_FRAGMENT) || (must_live && ip->ttl < 2))
    return UNUSUAL;
  if (offset + be16(ip->tot_len) != packet->len) return UNUSUAL;
  __u8 protocol = ip->protocol;
  flow->source = ip->saddr;
  flow->destination = ip->daddr;
  flow->ports = *(__be32 *)(ip + 1);
  flow->protocol = protocol;
  if (protocol == IPPROTO_UDP) return PLAIN;
  if (protocol != IPPROTO_TCP) return OTHER_PROTOCOL;
  data = header(packet, offset + sizeof(struct iphdr) + sizeof(struct tcphdr));
  if (!data) return UNUSUAL;
  struct tcphdr *tcp = data + offset + sizeof(struct iphdr);
  if (tcp->syn || tcp->fin || tcp->rst || !tcp->ack) return OPENING_OR_CLOSING;
  if (!(set->flags & TCP_GOES_FAST)) return TCP_IS_SLOW;
  return PLAIN;
}

// Whether the packet may go fast. In the second half of a flow's time one packet goes through the rules while the others go on fast:
// if all of them went at the end, those behind would overtake them. A short one is best: TCP minds an acknowledgement that is
// overtaken least.
INLINE int is_fresh(struct __sk_buff *packet, struct settings *set, struct noted *noted) {
  if (noted->generation != set->generation) return 0;
  __u64 age = bpf_ktime_get_coarse_ns() - noted->at;
  if (age >= set->fresh_ns) return 0;
  if (noted->renewing || age < set->fresh_ns / 2) return 1;
  if (packet->len > SHORT && age < set->fresh_ns / 4 * 3) return 1;
  noted->renewing = 1;
  return 0;
}

// What a way holds for: the maps as they are now, the direction, and both addresses. One number, which is never 0.
INLINE __u32 mark_of(enum direction direction, const struct flow *flow) {
  __u32 key = 0, *now = bpf_map_lookup_elem(&edition, &key);
  return ((now ? *now << 2 : 0) | direction) ^ ((flow->source ^ flow->destination * 0x9e3779b1) & ~3);
}

// Whether the right way was remembered. The mark is read last: the kernel may have given the entry to another flow meanwhile.
INLINE int recall(struct noted *noted, __u32 mark, struct way *way) {
  *way = noted->way;
  BARRIER;
  return noted->way.mark == mark;
}

// A way is looked up again after a change of the maps and whenever its flow is noted: a route is no older than the flow is fresh.
INLINE void remember(struct noted *noted, __u32 mark, const struct way *way) {
  noted->way.mark = 0;
  BARRIER;
  noted->way.ifindex = way->ifindex;
  noted->way.vtep = way->vtep;
  noted->way.next_hop = way->next_hop;
  __builtin_memcpy(noted->way.mac, way->mac, ETH_ALEN);
  BARRIER;
  noted->way.mark = mark;
}

INLINE void note(struct settings *set, struct flow *flow) {
  struct noted now = {.at = bpf_ktime_get_coarse_ns(), .generation = set->generation};
  struct noted *known = bpf_map_lookup_elem(&flows, flow);
  if (known) {
    known->way.mark = 0;
    known->at = now.at;
    known->generation = now.generation;
    known->renewing = 0;
  } else {
    bpf_map_update_elem(&flows, flow, &now, BPF_ANY);
  }
  count(NOTED);
}

// A hop's work on an IP header: TTL and checksum (RFC 1624).
INLINE void take_hop(struct iphdr *ip) {
  __u32 sum = ip->check + be16(0x0100);
  ip->check = (__u16)(sum + (sum >= 0xffff));
  ip->ttl--;
}

INLINE __sum16 checksum(void *ip) {
  __u16 *words = ip;
  __u32 sum = 0;
#pragma unroll
  for (int i = 0; i < (int)sizeof(struct iphdr) / 2; i++) sum += words[i];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

// The outer UDP header's: the same for all packets of a flow.
INLINE __be16 source_port(struct __sk_buff *packet) {
  __u32 hash = packet->hash;
  if (!hash) hash = bpf_get_hash_recalc(packet);
  return be16(0x8000 | (hash & 0x3fff));
}

// To a VTEP by the underlay. 0 where programs get no plain answer: no route, an IPv6 gateway, or no forwarding on the underlay.
INLINE __be32 find_next_hop(struct __sk_buff *packet, struct settings *set, __be32 vtep) {
  struct bpf_fib_lookup route = {
      .family = AF_INET,
      .l4_protocol = IPPROTO_UDP,
      .sport = source_port(packet),
      .dport = set->port,
      .ifindex = set->underlay,
      .ipv4_src = set->vtep,
      .ipv4_dst = vtep,
  };
  long result = bpf_fib_lookup(packet, &route, sizeof route, BPF_FIB_LOOKUP_OUTPUT);
  if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH) return 0;
  return route.family == AF_INET && route.ifindex == set->underlay ? route.ipv4_dst : 0;
}

INLINE int encapsulate(struct __sk_buff *packet, struct settings *set, const struct way *way) {
  __u32 inner = packet->len;
  __be16 source = source_port(packet);
  // Superpackets keep the size of their segments: the container's MTU leaves room for the headers, and that was checked.
  if (bpf_skb_adjust_room(packet, OUTER, BPF_ADJ_ROOM_MAC,
                          BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
                              BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH))
    return slow(UNUSUAL);
  void *data = header(packet, OUTER + ETH_HLEN + sizeof(struct iphdr));
  if (!data) {
    count(FAILED);
    return TC_ACT_SHOT;
  }
  struct outer *out = data;
  struct ethhdr *frame = data + OUTER;
  struct iphdr *ip = data + OUTER + ETH_HLEN;
  take_hop(ip);
  __u8 ecn = ip->tos & ECN;
  __builtin_memcpy(frame->h_dest, way->mac, ETH_ALEN);
  __builtin_memcpy(frame->h_source, set->mac, ETH_ALEN);
  frame->h_proto = be16(ETH_P_IP);
  // bpf_redirect_neigh writes the addresses.
  __builtin_memset(&out->ethernet, 0, ETH_HLEN);
  out->ethernet.h_proto = be16(ETH_P_IP);
  __u16 length = inner + OUTER - ETH_HLEN;
  out->ip = (struct iphdr){
      .version = 4,
      .ihl = 5,
      .tos = ecn == ECN_CE ? ECN_ECT0 : ecn,
      .tot_len = be16(length),
      .id = bpf_get_prandom_u32(),
      .ttl = OUTER_TTL,
      .protocol = IPPROTO_UDP,
      .saddr = set->vtep,
      .daddr = way->vtep,
  };
  out->ip.check = checksum((void *)out + ETH_HLEN);
  out->udp = (struct udphdr){
      .source = source,
      .dest = set->port,
      .len = be16(length - sizeof(struct iphdr)),
  };
  out->vxlan = (struct vxlan){VXLAN_HAS_VNI, set->vni};
  count(ENCAPSULATED);
  if (!way->next_hop) return bpf_redirect_neigh(set->underlay, 0, 0, 0);
  struct bpf_redir_neigh next = {.nh_family = AF_INET, .ipv4_nh = way->next_hop};
  return bpf_redirect_neigh(set->underlay, &next, sizeof next, 0);
}

SECTION("tc/from_container") int from_container(struct __sk_buff *packet) {
  struct settings *set = read_settings();
  if (!set || !set->fresh_ns || !is_ipv4(packet)) return SLOW;
  void *data = header(packet, ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr));
  if (!data) return SLOW;
  struct iphdr *ip = data + ETH_HLEN;
  __be32 source = ip->saddr, destination = ip->daddr;
  struct flow flow = {};
  __u32 verdict = judge(packet, set, ETH_HLEN, 1, &flow);
  struct noted *noted = verdict == PLAIN ? bpf_map_lookup_elem(&flows, &flow) : 0;
  __u32 mark = mark_of(OUT, &flow);
  struct way way = {};
  int is_known = noted && recall(noted, mark, &way);
  if (!is_known) {
    struct peer *peer = find_peer(destination);
    if (!peer) return SLOW;
    struct local *local = bpf_map_lookup_elem(&locals, &source);
    if (!local) return slow(NOT_FRESH_OUT);
    way.ifindex = local->ifindex;
    way.vtep = peer->vtep;
    __builtin_memcpy(way.mac, peer->mac, ETH_ALEN);
  }
  if (way.ifindex != packet->ifindex) return slow(WRONG_SOURCE_OUT);
  if (verdict != PLAIN) return slow(verdict);
  if (!noted || !is_fresh(packet, set, noted)) return slow(NOT_FRESH_OUT);
  if (!is_known) {
    way.next_hop = find_next_hop(packet, set, way.vtep);
    remember(noted, mark, &way);
  }
  __u32 mtu = 0;
  if (packet->len > LONGEST - OUTER || bpf_check_mtu(packet, set->tunnel, &mtu, 0, BPF_MTU_CHK_SEGS))
    return slow(TOO_LONG);
  return encapsulate(packet, set, &way);
}

SECTION("tc/from_wire") int from_wire(struct __sk_buff *packet) {
  struct settings *set = read_settings();
  if (!set || !set->fresh_ns || !is_ipv4(packet) || packet->pkt_type != 0 /* PACKET_HOST */) return SLOW;
  void *data = header(packet, OUTER + ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr));
  if (!data) return SLOW;
  struct outer *out = data;
  if (out->ip.version != 4 || out->ip.ihl != 5 || out->ip.protocol != IPPROTO_UDP ||
      (out->ip.frag_off & ANY_FRAGMENT) || out->ip.daddr != set->vtep || out->udp.dest != set->port ||
      out->vxlan.flags != VXLAN_HAS_VNI || out->vxlan.vni != set->vni)
    return SLOW;
  struct ethhdr *frame = data + OUTER;
  if (frame->h_proto != be16(ETH_P_IP) || !same_mac(frame->h_dest, set->mac)) return SLOW;
  struct iphdr *ip = data + OUTER + ETH_HLEN;
  __be32 source = ip->saddr, destination = ip->daddr, vtep = out->ip.saddr;
  __u32 length = be16(out->ip.tot_len);
  int met_congestion = (out->ip.tos & ECN) == ECN_CE;
  int is_whole = ETH_HLEN + length == packet->len && sizeof(struct iphdr) + be16(out->udp.len) == length;
  struct flow flow = {};
  __u32 verdict = judge(packet, set, OUTER + ETH_HLEN, 1, &flow);
  struct noted *noted = verdict == PLAIN ? bpf_map_lookup_elem(&flows, &flow) : 0;
  __u32 mark = mark_of(IN, &flow);
  struct way way = {};
  int is_known = noted && recall(noted, mark, &way);
  if (!is_known) {
    // Who has the sender's subnet: plain VXLAN does not ask that.
    struct peer *peer = find_peer(source);
    if (!peer || peer->vtep != vtep) return slow(WRONG_SOURCE_IN);
    struct local *local = bpf_map_lookup_elem(&locals, &destination);
    if (!local) return SLOW;
    way.vtep = vtep;
    way.ifindex = local->ifindex;
    __builtin_memcpy(way.mac, local->mac, ETH_ALEN);
  }
  if (way.vtep != vtep) return slow(WRONG_SOURCE_IN);
  if (met_congestion) return slow(CONGESTION);
  if (!is_whole) return slow(UNUSUAL);
  if (verdict != PLAIN) return slow(verdict);
  if (!noted || !is_fresh(packet, set, noted)) return slow(NOT_FRESH_IN);
  if (!is_known) remember(noted, mark, &way);
  if (bpf_skb_adjust_room(packet, -OUTER, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO)) return slow(UNUSUAL);
  data = header(packet, ETH_HLEN + sizeof(struct iphdr));
  if (!data) {
    count(FAILED);
    return TC_ACT_SHOT;
  }
  // What is left in front is the outer Ethernet header.
  frame = data;
  __builtin_memcpy(frame->h_dest, way.mac, ETH_ALEN);
  __builtin_memcpy(frame->h_source, set->mac, ETH_ALEN);
  take_hop(data + ETH_HLEN);
  count(DECAPSULATED);
  return bpf_redirect_peer(way.ifindex, 0);
}

// What the rules let out to a peer, from a container of this host.
SECTION("tc/note_out") int note_out(struct __sk_buff *packet) {
  struct settings *set = read_settings();
  if (!set || !set->fresh_ns || !is_ipv4(packet)) return SLOW;
  if (!header(packet, ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr))) return SLOW;
  struct flow flow = {};
  if (judge(packet, set, ETH_HLEN, 0, &flow) != PLAIN) return SLOW;
  if (find_peer(flow.destination) && bpf_map_lookup_elem(&locals, &flow.source)) note(set, &flow);
  return SLOW;
}

// What the rules let in from a peer. It came by the tunnel: a neighbour on the same bridge can't make it look so.
SECTION("tc/note_in") int note_in(struct __sk_buff *packet) {
  struct settings *set = read_settings();
  if (!set || !set->fresh_ns || !is_ipv4(packet) || packet->ingress_ifindex != set->tunnel) return SLOW;
  if (!header(packet, ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr))) return SLOW;
  struct flow flow = {};
  if (judge(packet, set, ETH_HLEN, 0, &flow) != PLAIN) return SLOW;
  if (find_peer(flow.source)) note(set, &flow);
  return SLOW;
}

// bpf_check_mtu is open to programs only that say they are GPL-compatible.
char _license[] SECTION("license") = "Dual BSD/GPL";
