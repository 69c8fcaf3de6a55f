// attachment.hpp: a process's mapping and membership of one arena, as the runtime knows it.
//
// An Attachment is made once per arena file and process, and never deleted: handles, lanes and
// reserved address ranges refer to it. Changed under the process lock, except where atomic.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <lagoon/detail/attachment.hpp>
#include <lagoon/detail/lane.hpp>
#include <lagoon/detail/pool_core.hpp>

#include "os.hpp"
#include "spin_budget.hpp"

namespace lagoon::inline v1::detail {

struct PoolPrivate;
/// By the pool's offset. The hooks in them are the user's, who may own arenas in turn: none of them
/// is destroyed under the process lock.
using PrivatePools = std::map<std::uint64_t, std::unique_ptr<PoolPrivate>>;

/// Has `shut_down` begun?
inline bool is_shut_down(const ArenaHeader& header) noexcept {
    // Q2 acquire load <- Q1. kept: a flag alone.
    return header.state.load(std::memory_order_acquire) != 0;
}

struct Attachment {
    std::string name;
    std::string directory;
    std::string path;
    os::FileId file;
    Atomic<int> fd{-1};  // asked about locks, reopened by a forked child; may be closed under us

    // Set while the mapping is there; `base` stays afterwards, to explain faults.
    Atomic<std::uintptr_t> base{0};
    Atomic<std::uint64_t> bytes{0};
    std::uint64_t closed_bytes = 0;  // of the mapping that was last closed here
    ArenaHeader* header = nullptr;

    // Membership of this process. `member_state` is 0 while there is none.
    std::uint32_t member = 0;
    Atomic<std::uint64_t> member_state{0};
    void* lock_page = nullptr;  // keeps the lock byte's file description alive
    bool keeper = false;
    bool light_store = false;
    bool keeps = false;  // threads keep idle slots, and steal those of others

    std::uint64_t handles = 0;
    bool creator = false;
    bool prefaulted = false;
    bool writable = true;
    bool want_keeper = true;

    LaneView shared_lane{};  // for threads that find no lane; not wiped, checked by the epoch
    Atomic<std::uint64_t> shared_thief{0};  // epoch of a process whose lane steals, or 0
    Atomic<std::uint32_t> sleepers{0};      // this process's threads that wait for something here
    Atomic<std::uint32_t> makers{0};        // and those that make something for a pool

    PrivatePools pools;

    /// Is giving back a plain store here, by those whom the fence reaches?
    [[nodiscard]] bool others_light() const noexcept {
        return (header->flags & flag_light_store) != 0;
    }
    [[nodiscard]] std::byte* at(std::uint64_t offset) const noexcept {
        return reinterpret_cast<std::byte*>(header) + offset;
    }
    [[nodiscard]] MemberEntry& member_entry(std::uint32_t index) const noexcept {
        return reinterpret_cast<MemberEntry*>(at(header->members_offset))[index];
    }
    [[nodiscard]] LaneEntry& lane_entry(std::uint32_t lane) const noexcept {
        return reinterpret_cast<LaneEntry*>(at(header->lanes_offset))[lane - header->max_members];
    }
    [[nodiscard]] DirectoryEntry* directory_begin() const noexcept {
        return reinterpret_cast<DirectoryEntry*>(at(header->directory_offset));
    }
    [[nodiscard]] std::byte* root() const noexcept { return at(header->root_offset); }
    [[nodiscard]] std::uint64_t offset_of(const void* object) const noexcept {
        return reinterpret_cast<std::uintptr_t>(object) - reinterpret_cast<std::uintptr_t>(header);
    }
    /// The arena's objects of one kind, by calling `each(entry, object)`.
    template <class Each>
    void for_each(Kind kind, Each&& each) const {
        const DirectoryEntry* entry = directory_begin();
        for (std::uint32_t i = 0; i < header->directory_count; ++i, ++entry) {
            if (entry->kind == static_cast<std::uint32_t>(kind)) {
                each(*entry, root() + entry->object_offset);
            }
        }
    }
};

class PlaceInQueue;
struct Making;

/// What a process keeps of one pool beside its threads' caches.
struct PoolPrivate {
    ErasedHooks hooks;
    std::uint64_t hooks_epoch = 0;  // of the process that gave them, 0 before that
    struct Seen {
        std::uint64_t word = 0;
        std::chrono::steady_clock::time_point first{};
    };
    std::vector<Seen> seen;                             // by slot, for snapshot's ages
    std::map<std::uint64_t, std::uint64_t> left_dirty;  // by slot: the word that was counted
    std::uint32_t waiters = 0;        // threads on the shared lane that wait here, and of which
    std::uint64_t waiters_epoch = 0;  // process
    PlaceInQueue* queue = nullptr;    // those that have a turn, and of which process
    std::uint64_t queue_epoch = 0;
    Making* makings = nullptr;  // under way, and of which process
    std::uint64_t makings_epoch = 0;
    SpinBudget spins;  // before a sleep
    // Hints: where on_overdue goes on, and not before when.
    Atomic<std::uint64_t> overdue_at{0};
    Atomic<std::uint64_t> overdue_due_ns{0};
};

/// As attach(open), without comparing a struct. What it repaired is added to `repaired`.
[[nodiscard]] Attachment* attach_untyped(std::string_view name, const ArenaOptions& options,
                                         Reaped* repaired = nullptr);

/// Under the process lock: in a forked child, nothing of the parent's membership is ours.
void make_attachments_foreign() noexcept;
/// Under the process lock: the known attachment of this file, or null.
[[nodiscard]] Attachment* find_attachment(const os::FileId& file,
                                          const std::array<std::uint64_t, 2>& id) noexcept;
/// Under the process lock.
[[nodiscard]] Attachment* new_attachment();
void publish_mapping(Attachment& attachment, void* base, std::uint64_t bytes) noexcept;
/// Under the process lock: replaces the mapping by an unreadable reservation.
void retire_mapping(Attachment& attachment) noexcept;

/// Under the process lock: makes this process a member of a mapped arena, and starts the keeper.
void join_arena(Attachment& attachment);
/// Under the process lock: gives back lanes and the member entry. Leases must be back.
void leave_arena(Attachment& attachment) noexcept;
/// Under the process lock: joins if this process (a forked child, perhaps) is no member yet.
void ensure_member_locked(Attachment& attachment);
/// How many slots this process holds, over all pools.
[[nodiscard]] std::uint64_t leases_held(const Attachment& attachment) noexcept;

/// The private part of a pool, made at first use. Takes the process lock.
[[nodiscard]] PoolPrivate& pool_private(Attachment& attachment, const PoolObject& pool);

/// For a fault at `address` in a closed range: a line that names the arena; its length, or 0.
[[nodiscard]] int explain_address(const void* address, char* line, std::size_t room) noexcept;

/// Has anybody this lane? To be asked after the word that names it was loaded: if the word is still
/// the same afterwards and the answer was no, it names nobody.
[[nodiscard]] bool lane_lives(const Attachment& attachment, std::uint32_t lane) noexcept;

/// The entry behind a lane, or null where nobody has it.
[[nodiscard]] const MemberEntry* member_behind(const Attachment& attachment,
                                               std::uint32_t lane) noexcept;
/// For display; 0 where there is none.
[[nodiscard]] std::uint32_t pid_of_lane(const Attachment& attachment, std::uint32_t lane) noexcept;

/// A descriptor of the arena's file that is surely it, though the host may have closed ours;
/// -1 when the file can no longer be reached.
[[nodiscard]] int sound_fd(Attachment& attachment) noexcept;

}  // namespace lagoon::inline v1::detail
