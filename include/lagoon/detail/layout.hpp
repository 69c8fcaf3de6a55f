// layout.hpp: every byte of an arena file that is not a user's object.
//
//   Shape      header page | member entries | lane entries | directory | root struct | storage
//   Death      see the words themselves; the rest is written before the file has a name, or is
//              for display only
//   Edges      are named where the words are used: runtime/members.cpp and runtime/lanes.cpp
//
// The static part of the header and the directory are covered by one checksum and never change
// once the arena has its name.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lagoon/detail/atomic.hpp>
#include <lagoon/detail/config.hpp>

namespace lagoon::inline v1::detail {

constexpr std::uint32_t format_version = 7;
constexpr std::uint32_t byte_order_mark = 0x01020304;
constexpr std::array<char, 8> arena_magic{'l', 'a', 'g', 'o', 'o', 'n', '\r', '\n'};

constexpr std::size_t name_limit = 64;         // of a member, with its terminator
constexpr std::size_t arena_name_limit = 200;  // of an arena, with its terminator
constexpr std::size_t type_limit = 144;        // of an element type's name, with its terminator
constexpr std::uint32_t lane_limit = 1023;     // lane numbers have 10 bits in a truth word
constexpr std::uint32_t no_lane_number = 1023;

/// Byte offsets of the file locks; both lie far outside of anything that is ever mapped.
constexpr std::int64_t gate_byte = std::int64_t{1} << 40;
constexpr std::int64_t member_byte = (std::int64_t{1} << 40) + 64;  // + member index

enum class Kind : std::uint32_t {
    none,
    counter,
    sharded_counter,
    value,
    array,
    lock,
    pool,
};

constexpr std::uint32_t flag_scoped = 1;       // the name goes with the last member
constexpr std::uint32_t flag_light_store = 2;  // releases are plain stores; who waits runs the
                                               // heavy fence
constexpr std::uint32_t flag_biased = 4;       // threads keep idle slots (detail/bias.hpp)

struct ArenaHeader {
    std::array<char, 8> magic;
    std::uint32_t version;
    std::uint32_t byte_order;
    std::uint64_t header_bytes;
    std::uint64_t arena_bytes;
    std::array<std::uint64_t, 2> id;       // random, one per creation
    std::array<std::uint64_t, 2> boot_id;  // for display: after a reboot every lock is free anyway
    std::uint32_t flags;
    std::uint32_t max_members;
    std::uint32_t max_lanes;  // one shared lane per member, then the threads' lanes
    std::uint32_t directory_count;
    std::uint64_t members_offset;
    std::uint64_t lanes_offset;
    std::uint64_t directory_offset;
    std::uint64_t root_offset;
    std::uint64_t root_bytes;
    std::uint64_t storage_offset;
    std::uint64_t created_realtime_ns;
    std::uint32_t creator_pid;  // for display
    std::uint32_t reserved;
    std::array<char, arena_name_limit> name;
    std::uint64_t checksum;  // of everything above and of the directory

    // From here on the words change while the arena lives.
    alignas(cache_line_bytes) Atomic<std::uint64_t> state;  // 0 open, 1 shut down
    Atomic<std::uint64_t> gate_pid;                         // for display: last to hold the gate
    Atomic<std::uint64_t> deaths;                           // members repaired so far
    Atomic<std::uint32_t> event;                            // futex: members come, go, shut down
};
static_assert(std::is_standard_layout_v<ArenaHeader> && sizeof(ArenaHeader) <= page_bytes);
static_assert(offsetof(ArenaHeader, checksum) == 344 && offsetof(ArenaHeader, state) == 384);

/// One per attached process and file.
struct alignas(cache_line_bytes) MemberEntry {
    // Bit 0: LIVE. Above: the incarnation, which grows by one with every claim. Changed by
    // compare-and-swap, by whoever holds the lock byte or has proved the holder's death.
    Atomic<std::uint64_t> state;
    // The kernel walks from here at the keeper's death; written by the member itself.
    std::uint64_t robust_next;
    Atomic<std::uint32_t> death_word;
    std::uint32_t flags;  // member_has_keeper
    std::uint32_t pid;    // for display
    std::uint32_t reserved;
    std::uint64_t attached_realtime_ns;
    std::uint64_t pid_namespace;  // for display
};
static_assert(sizeof(MemberEntry) == cache_line_bytes);

constexpr std::uint32_t member_has_keeper = 1;

/// A thread's claim on one place among those who own things. Lane numbers below max_members
/// are the shared lanes: lane i belongs to member i and needs no claim.
struct alignas(cache_line_bytes) LaneEntry {
    // Bit 0: LIVE; bits 1 to 10: the member; above: the incarnation. Compare-and-swap only.
    Atomic<std::uint64_t> state;
    std::uint32_t tid;  // for display
    std::uint32_t reserved;
};
static_assert(sizeof(LaneEntry) == cache_line_bytes);

/// What the directory says of one member of the struct.
struct DirectoryEntry {
    std::array<char, name_limit> name;
    std::array<char, type_limit> element_type;
    std::uint32_t kind;
    std::uint32_t element_align;
    std::uint64_t element_bytes;
    std::uint64_t element_shape;  // hash of the element's fields
    std::uint64_t object_offset;  // from the root struct
    std::uint64_t object_bytes;
    std::uint64_t extent;          // elements or slots; the arena's, not the program's
    std::uint64_t storage_offset;  // from the start of the file, 0 where there is none
    std::uint64_t storage_bytes;
};
static_assert(sizeof(DirectoryEntry) == 272);

constexpr std::uint64_t live_bit = 1;
constexpr bool is_live(std::uint64_t state) noexcept { return (state & live_bit) != 0; }
constexpr std::uint64_t incarnation_of_member(std::uint64_t state) noexcept { return state >> 1; }
constexpr std::uint64_t member_live(std::uint64_t incarnation) noexcept {
    return incarnation << 1 | live_bit;
}
constexpr std::uint32_t member_of_lane(std::uint64_t state) noexcept {
    return static_cast<std::uint32_t>(state >> 1 & 0x3ff);
}
constexpr std::uint64_t lane_live(std::uint64_t before, std::uint32_t member) noexcept {
    return ((before >> 11) + 1) << 11 | std::uint64_t{member} << 1 | live_bit;
}

/// Where an object keeps what does not fit into the struct: bytes from the object itself, so
/// that it holds at any address; 0 is none. First field of every object that has storage.
struct Storage {
    std::int64_t from_object;
    std::uint64_t extent;
};

}  // namespace lagoon::inline v1::detail
