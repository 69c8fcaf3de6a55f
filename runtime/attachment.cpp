// attachment.cpp: an arena's membership and handles in this process.
#include "attachment.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <lagoon/error.hpp>

#include "arena_file.hpp"
#include "fence.hpp"
#include "keeper.hpp"
#include "lanes.hpp"
#include "members.hpp"
#include "pool_life.hpp"
#include "pool_making.hpp"
#include "process_state.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

int sound_fd(Attachment& attachment) noexcept {
    // G10 acquire load <- G11. kept: a number alone; what is behind it is looked at each time.
    int fd = attachment.fd.load(std::memory_order_acquire);
    if (os::file_of(fd) == attachment.file) return fd;
    // The host closed it: the name may still lead there.
    const int again = ::open(attachment.path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (again < 0) return -1;
    if (os::file_of(again) != attachment.file) {
        ::close(again);
        return -1;
    }
    // G11 acq_rel RMW <- G11 -> G10, G11, G12: two threads may both reopen; one descriptor stays.
    // kept: as G10; torn, a descriptor would stay open that nobody knows.
    if (!attachment.fd.compare_exchange_strong(fd, again, std::memory_order_acq_rel,
                                               std::memory_order_acquire)) {
        ::close(again);
        return fd;
    }
    return again;
}

void join_arena(Attachment& attachment) {
    // A process that has only arenas of exchanges is never interrupted.
    attachment.light_store = attachment.others_light() && register_for_fences();
    attachment.keeps = attachment.light_store && (attachment.header->flags & flag_biased) != 0;
    claim_member(attachment);
    attachment.shared_lane.lane = attachment.member;
    attachment.shared_lane.member = attachment.member;
    forget_waits(attachment, attachment.member);
    try {
        if (attachment.want_keeper) keeper_adopt(attachment);
    } catch (...) {
        release_member(attachment);
        throw;
    }
    // Who sleeps must watch this member from now on.
    wake(attachment.header->event, everybody);
}

void ensure_member_locked(Attachment& attachment) {
    (void)process_epoch();
    // B7 acquire load <- B6. kept: changed under the process lock only.
    if (attachment.member_state.load(std::memory_order_acquire) == 0) join_arena(attachment);
}

void ensure_member(Attachment* attachment) {
    (void)process_epoch();
    // B7 acquire load <- B6: the member's number and the process's lane. kept: they are plain, in
    // private memory, and whoever sees the state comes here without a lock.
    if (attachment->member_state.load(std::memory_order_acquire) != 0) return;
    // A forked child joins as everybody does: under the gate, unless the last one has left.
    const std::string what = "arena '" + attachment->name + "'";
    const int fd = sound_fd(*attachment);
    if (fd < 0) throw Error{Errc::closed, what + " can no longer be reached by this forked child"};
    const Gate gate{fd, os::LockKind::shared, what, attachment->file};
    const ProcessLock lock;
    const ArenaHeader& header = *attachment->header;
    const bool named = os::file_at(attachment->path) == attachment->file;
    if (is_shut_down(header) ||
        (!named && life_of(fd, header, &attachment->member_entry(0)) == Life::nobody)) {
        throw Error{Errc::closed, what +
                                      " has ended: its last member left or shut it down before "
                                      "this forked child used it"};
    }
    ensure_member_locked(*attachment);
}

MemberId member_id(Attachment* attachment) {
    ensure_member(attachment);
    // B7 acquire load <- B6. kept: ensure_member has it.
    return {attachment->member, attachment->member_state.load(std::memory_order_acquire)};
}

void leave_arena(Attachment& attachment) noexcept {
    // B7 acquire load <- B6. kept: changed under the process lock only.
    if (attachment.member_state.load(std::memory_order_acquire) == 0) return;
    repair_own(attachment);
    free_lanes(attachment);
    keeper_drop(attachment);
    release_member(attachment);
}

void add_handle(Attachment* attachment) noexcept {
    const ProcessLock lock;
    ++attachment->handles;
}

namespace {

std::uint32_t sleepers_of(const Attachment& attachment) noexcept {
    // X5 acquire load <- X6. kept: the mapping goes by a system call; in private memory.
    return attachment.sleepers.load(std::memory_order_acquire);
}

bool is_last_handle(const Attachment& attachment) noexcept {
    const ProcessLock lock;
    return attachment.handles == 1;
}

/// Does leaving perhaps take the name along?
bool owns_a_name(Attachment& attachment) {
    // B7 acquire load <- B6. kept: changed under the process lock only.
    return attachment.member_state.load(std::memory_order_acquire) != 0 && attachment.writable &&
           (attachment.header->flags & flag_scoped) != 0 &&
           os::file_at(attachment.path) == attachment.file;
}

/// Under the process lock: the last handle is gone and no lease is out. `gated`: we hold the
/// exclusive gate, and the last one out takes the name along while it is still a member, so that
/// nobody opens in between. The pools' hooks are left to the caller, to be destroyed without lock
/// and gate.
void detach(Attachment& attachment, bool gated, PrivatePools& hooks) {
    if (gated && owns_a_name(attachment)) {
        try {
            (void)remove_name_gated(attachment.path, sound_fd(attachment), false,
                                    "arena '" + attachment.name + "'", attachment.member);
        } catch (const Error&) {
            // The name stays; whoever next creates, opens, lists or reaps it removes it.
        }
    }
    leave_arena(attachment);
    forget_lanes(attachment);
    retire_mapping(attachment);
    hooks.swap(attachment.pools);
    // G12 acq_rel RMW <- G11: nobody reopens it any more. kept: the last handle is gone, and the
    // keeper asks no more.
    const int ours = attachment.fd.exchange(-1, std::memory_order_acq_rel);
    if (os::file_of(ours) == attachment.file) ::close(ours);
}

/// Runs `leave(gated)` under the process lock, and for the last handle of a process that may take
/// the name along under the exclusive gate, too: the gate comes first, as for those who open.
template <class Leave>
void with_gate_for_last(Attachment& attachment, Leave&& leave) {
    {
        const ProcessLock lock;
        if (attachment.handles != 1 || !owns_a_name(attachment)) return leave(false);
    }
    std::unique_ptr<Gate> gate;
    try {
        gate = std::make_unique<Gate>(sound_fd(attachment), os::LockKind::exclusive,
                                      "arena '" + attachment.name + "'", attachment.file);
    } catch (const Error&) {
        gate = nullptr;  // the name stays, as above
    }
    const ProcessLock lock;
    leave(gate != nullptr);
}

}  // namespace

void close_handle(Attachment* attachment) {
    (void)process_epoch();
    // B7 acquire load <- B6. What nobody else may have a hook for is ended before we go. kept:
    // reap() begins with another.
    if (is_shut_down(*attachment->header) &&
        attachment->member_state.load(std::memory_order_acquire) != 0) {
        (void)reap(attachment);
    }
    PrivatePools hooks;
    if (is_last_handle(*attachment)) await_makers(*attachment);
    with_gate_for_last(*attachment, [&](bool gated) {
        if (attachment->handles == 1) {
            if (const std::uint64_t leases = leases_held(*attachment); leases > 0) {
                throw Error{Errc::leases_outstanding,
                            "arena '" + attachment->name +
                                "' cannot be closed: this process "
                                "still holds " +
                                std::to_string(leases) + " leases; give them back first",
                            0, leases};
            }
            if (const std::uint32_t sleepers = sleepers_of(*attachment); sleepers > 0) {
                throw Error{Errc::busy,
                            "arena '" + attachment->name +
                                "' cannot be closed: " + std::to_string(sleepers) +
                                " threads of this process wait in it; let them finish, stop them "
                                "by their stop tokens, or shut the arena down first"};
            }
            // Behind the sleepers, who start them.
            if (const std::uint32_t makers = makers_of(*attachment); makers > 0) {
                throw Error{Errc::busy, "arena '" + attachment->name +
                                            "' cannot be closed: " + std::to_string(makers) +
                                            " resources are being made for it by factories of "
                                            "this process; let them finish, by drain() of "
                                            "their pools"};
            }
            detach(*attachment, gated, hooks);
        }
        --attachment->handles;
    });
}

void drop_handle(Attachment* attachment) noexcept {
    PrivatePools hooks;
    try {
        (void)process_epoch();
        if (is_last_handle(*attachment)) await_makers(*attachment);
        with_gate_for_last(*attachment, [&](bool gated) {
            // With leases out, or threads that wait or make something, the process stays attached
            // without a handle; whoever opens the arena again can be the last one then.
            const bool last = attachment->handles == 1 && leases_held(*attachment) == 0 &&
                              sleepers_of(*attachment) == 0 && makers_of(*attachment) == 0;
            if (last) detach(*attachment, gated, hooks);
            --attachment->handles;
        });
    } catch (...) {
        // No memory for a path: the process stays attached, and its end is noticed.
    }
}

std::uint32_t pid_of_lane(const Attachment& attachment, std::uint32_t lane) noexcept {
    const MemberEntry* member = member_behind(attachment, lane);
    return member != nullptr ? member->pid : 0;
}

void* root_of(Attachment* attachment) { return attachment->root(); }
const std::string& name_of(const Attachment* attachment) noexcept { return attachment->name; }
const std::string& directory_of(const Attachment* attachment) noexcept {
    return attachment->directory;
}
const ArenaHeader& header_of(const Attachment* attachment) noexcept { return *attachment->header; }
bool was_prefaulted(const Attachment* attachment) noexcept { return attachment->prefaulted; }

Reaped reap(Attachment* attachment) {
    ensure_member(attachment);
    Reaped done = repair_the_dead(*attachment);
    done += repair_nobodys(*attachment);
    attachment->for_each(Kind::pool, [&](const DirectoryEntry&, std::byte* object) {
        auto& pool = *reinterpret_cast<PoolObject*>(object);
        // A closer may have died before it came to what others keep.
        if (pool_is_closed(pool)) free_all_kept(pool);
        reap_pool(pool, done);
    });
    return done;
}

void throw_closed(std::string_view name) {
    const std::string what = name.empty()
                                 ? "an Arena handle is used that was closed, moved from or "
                                   "never opened"
                                 : "arena '" + std::string{name} + "' is closed";
    throw Error{Errc::closed, what + "; open it again by its name"};
}

void throw_out_of_range(const void* object, std::uint64_t index, std::uint64_t size) {
    std::string what = "array";
    if (const Attachment* attachment = attachment_of(object)) {
        attachment->for_each(Kind::array, [&](const DirectoryEntry& entry, std::byte* at) {
            if (at == object) {
                what = "arena '" + attachment->name + "': array '" + entry.name.data() + "'";
            }
        });
    }
    throw Error{Errc::out_of_range, what + ": index " + std::to_string(index) + " of " +
                                        std::to_string(size) + " elements; the last one is " +
                                        (size == 0 ? "none" : std::to_string(size - 1))};
}

}  // namespace lagoon::inline v1::detail

namespace lagoon::inline v1 {

Reaped& Reaped::operator+=(const Reaped& other) noexcept {
    processes += other.processes;
    leases += other.leases;
    builds += other.builds;
    locks += other.locks;
    hooks_run += other.hooks_run;
    dirty_left += other.dirty_left;
    return *this;
}

}  // namespace lagoon::inline v1
