// members.cpp: claiming a member entry, and proving a death.
//
// LIVE(incarnation) with its byte unlocked is a death, because a claimant locks first and then
// says LIVE, and one who leaves says free first and then unlocks. The lock hangs on a mapping of
// one page that no fork copies, so it ends with the address space and with nothing else.
//
//   killed                         leaves
//   before the lock                nothing
//   between lock and LIVE          a free entry, unlocked
//   after LIVE                     a dead member: repaired by whoever asks
//   while leaving, after free      a free entry
#include "members.hpp"

#include <sys/mman.h>

#include <lagoon/error.hpp>

#include "attachment.hpp"
#include "keeper.hpp"
#include "os.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

std::int64_t byte_of(std::uint32_t index) noexcept { return member_byte + index; }

/// One page of the description `fd`, which no fork inherits.
void* map_lock_page(int fd, const std::string& what) {
    void* page = ::mmap(nullptr, page_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        throw Error{Errc::system, what + ": cannot map a page of the arena", errno};
    }
    if (::madvise(page, page_bytes, MADV_DONTFORK) != 0) {
        const int error = errno;
        ::munmap(page, page_bytes);
        throw Error{Errc::not_supported,
                    what +
                        ": the kernel refuses MADV_DONTFORK, without which a forked child "
                        "would hide this process's death",
                    error};
    }
    return page;
}

enum class Claimed { yes, no };

Claimed try_claim(Attachment& attachment, std::uint32_t index, int description,
                  const std::string& what) {
    MemberEntry& entry = attachment.member_entry(index);
    // B1 acquire load <- B3, B4, R1: what the last owner or its reaper left behind.
    // kept: the lock on the byte brings along what its last holder did.
    std::uint64_t state = entry.state.load(std::memory_order_acquire);
    if (is_live(state)) return Claimed::no;
    switch (os::try_lock_byte(description, byte_of(index), os::LockKind::exclusive)) {
        case os::Answer::no: return Claimed::no;
        case os::Answer::refused:
            throw Error{Errc::not_supported,
                        what +
                            ": the kernel or a sandbox refuses locks of open file "
                            "descriptions, by which deaths are recognised: " +
                            os::error_text(errno),
                        errno};
        case os::Answer::yes: break;
    }
    // B1 acquire load <- B3, B4, R1: somebody may have come, and died, before we had the byte.
    // kept: as above.
    if (entry.state.load(std::memory_order_acquire) != state) {
        os::unlock_byte(description, byte_of(index));
        return Claimed::no;
    }
    // The byte is ours: display fields and the death word may be reset before anybody looks.
    entry.pid = os::process_id();
    entry.attached_realtime_ns = os::realtime_ns();
    entry.pid_namespace = os::pid_namespace();
    entry.flags = 0;
    entry.robust_next = 0;
    // B2 relaxed store, no pair: published by B3.
    entry.death_word.store(0, std::memory_order_relaxed);
    const std::uint64_t live = member_live(incarnation_of_member(state) + 1);
    // B3 acq_rel RMW -> B1, B5, R4: LIVE only once the byte is locked.
    // kept: who asks the kernel about the byte gets the order from there, and nobody else changes
    // the entry while the byte is ours; for whoever looks at the word alone it costs nothing.
    if (!entry.state.compare_exchange_strong(state, live, std::memory_order_acq_rel,
                                             std::memory_order_relaxed)) {
        os::unlock_byte(description, byte_of(index));
        return Claimed::no;
    }
    attachment.member = index;
    // B6 release store -> B7: for threads that come without the process lock. kept: as in
    // ensure_member.
    attachment.member_state.store(live, std::memory_order_release);
    return Claimed::yes;
}

}  // namespace

MemberLife member_life(int fd, const MemberEntry& member, std::uint32_t index,
                       std::uint64_t* state) noexcept {
    // B5 acquire load <- B3, B4: what a dead member did before it died is seen by its reaper. kept:
    // the kernel's answer about the byte brings it along.
    const std::uint64_t before = member.state.load(std::memory_order_acquire);
    if (state != nullptr) *state = before;
    if (!is_live(before)) return MemberLife::free;
    const os::Answer locked = os::is_byte_locked(fd, byte_of(index));
    if (locked == os::Answer::refused) return MemberLife::unclear;
    // B5 acquire load <- B3, B4: one reading alone would take a change of owner for a death. kept:
    // as the first look.
    const std::uint64_t after = member.state.load(std::memory_order_acquire);
    if (before != after || locked == os::Answer::yes) return MemberLife::alive;
    return MemberLife::dead;
}

MemberLife member_life(Attachment& attachment, std::uint32_t index, std::uint64_t* state) noexcept {
    const MemberEntry& entry = attachment.member_entry(index);
    // B7 acquire load <- B6. kept: whoever asks is a member by what it did itself.
    const std::uint64_t own = attachment.member_state.load(std::memory_order_acquire);
    if (own != 0 && index == attachment.member) {
        if (state != nullptr) *state = own;
        return MemberLife::alive;
    }
    // B5 acquire load <- B3, B4. kept: as the first look.
    const std::uint64_t before = entry.state.load(std::memory_order_acquire);
    if (!is_live(before)) {
        if (state != nullptr) *state = before;
        return MemberLife::free;
    }
    const int fd = sound_fd(attachment);
    if (fd < 0) {
        if (state != nullptr) *state = before;
        return MemberLife::unclear;
    }
    const MemberLife life = member_life(fd, entry, index, state);
    if (life != MemberLife::dead) return life;
    // A death is believed only through descriptors that surely were of this file: the host may
    // have closed ours and opened something else under its number between look and question. No
    // lock is ever taken through our description, so it may be asked by any of its numbers.
    for (int round = 0; round < 2; ++round) {
        const os::Fd fresh = os::duplicate(sound_fd(attachment));
        // Where none is to be had: ours, if it is of this file before and after.
        const int asked = fresh ? fresh.get() : sound_fd(attachment);
        std::uint64_t again = 0;
        if (os::file_of(asked) != attachment.file ||
            member_life(asked, entry, index, &again) != MemberLife::dead ||
            os::file_of(asked) != attachment.file) {
            return MemberLife::unclear;
        }
        if (state != nullptr && again != *state) return MemberLife::unclear;
    }
    return MemberLife::dead;
}

const MemberEntry* member_behind(const Attachment& attachment, std::uint32_t lane) noexcept {
    const ArenaHeader& header = *attachment.header;
    if (lane >= header.max_lanes) return nullptr;
    if (lane >= header.max_members) {
        // R2 acquire load <- R3, N1: the lane of a later incarnation brings along that one's entry.
        // kept: who acts on the answer has found the lane's number in a word by an acquire load,
        // which has brought along how the lane and its member were claimed.
        const std::uint64_t state =
            attachment.lane_entry(lane).state.load(std::memory_order_acquire);
        lane = member_of_lane(state);
        if (!is_live(state) || lane >= header.max_members) return nullptr;
    }
    return &attachment.member_entry(lane);
}

bool lane_lives(const Attachment& attachment, std::uint32_t lane) noexcept {
    const MemberEntry* const member = member_behind(attachment, lane);
    // R4 acquire load <- R1, B3: lanes are freed before their member is. kept: as R2.
    return member != nullptr && is_live(member->state.load(std::memory_order_acquire));
}

bool member_is_alive(Attachment* attachment, MemberId id) noexcept {
    if (id.index >= attachment->header->max_members) return false;
    std::uint64_t state = 0;
    const MemberLife life = member_life(*attachment, id.index, &state);
    return state == id.state && (life == MemberLife::alive || life == MemberLife::unclear);
}

void claim_member(Attachment& attachment) {
    const std::string what = "arena '" + attachment.name + "'";
    os::Fd description = os::reopen(sound_fd(attachment), what);
    if (os::file_of(description.get()) != attachment.file) {
        throw Error{Errc::busy, what + ": this process's descriptors were changed while it joined"};
    }
    void* page = map_lock_page(description.get(), what);
    const std::uint32_t places = attachment.header->max_members;
    try {
        for (int round = 0; round < 2; ++round) {
            for (std::uint32_t i = 0; i < places; ++i) {
                if (try_claim(attachment, i, description.get(), what) == Claimed::yes) {
                    attachment.lock_page = page;
                    return;
                }
            }
            // Full: perhaps of the dead.
            repair_the_dead(attachment);
        }
    } catch (...) {
        ::munmap(page, page_bytes);
        throw;
    }
    ::munmap(page, page_bytes);
    throw Error{Errc::too_many_processes,
                what + ": all " + std::to_string(places) +
                    " places for processes are taken; create it with a larger "
                    "ArenaOptions::max_processes"};
}

void release_member(Attachment& attachment) noexcept {
    MemberEntry& entry = attachment.member_entry(attachment.member);
    // B7 acquire load <- B6. kept: changed under the process lock only.
    std::uint64_t live = attachment.member_state.load(std::memory_order_acquire);
    // B8 relaxed store, no pair: nobody counts on this process from here on.
    attachment.member_state.store(0, std::memory_order_relaxed);
    // B4 acq_rel RMW -> B1, B5: free first, then the byte is unlocked. kept: the unlocking of the
    // byte behind it orders it for whoever asks the kernel.
    entry.state.compare_exchange_strong(live, live & ~live_bit, std::memory_order_acq_rel,
                                        std::memory_order_relaxed);
    ::munmap(attachment.lock_page, page_bytes);
    attachment.lock_page = nullptr;
}

}  // namespace lagoon::inline v1::detail
