// evict.cpp: ending another process of the arena, and waiting for the proof.
//
// killed anywhere: the victim lives, or dies and is repaired like any dead process.
#include <cerrno>
#include <csignal>

#include <lagoon/arena.hpp>
#include <lagoon/detail/wait.hpp>
#include <lagoon/error.hpp>

#include "attachment.hpp"
#include "members.hpp"
#include "os.hpp"
#include "reap.hpp"

namespace lagoon::inline v1::detail {

namespace {

/// One incarnation of a member.
struct Victim {
    std::uint32_t index = 0;
    std::uint64_t state = 0;
};

/// Dead and not repaired yet, or another incarnation by now.
bool is_gone(Attachment& attachment, const Victim& victim) noexcept {
    std::uint64_t state = 0;
    const MemberLife life = member_life(attachment, victim.index, &state);
    return state != victim.state || life == MemberLife::dead || life == MemberLife::free;
}

/// The members with this number that are not gone; a process with two copies of the library in it
/// is two of them.
std::vector<Victim> victims_of(Attachment& attachment, std::uint32_t pid) {
    std::vector<Victim> found;
    for (std::uint32_t i = 0; i < attachment.header->max_members; ++i) {
        Victim victim{i, 0};
        const MemberLife life = member_life(attachment, i, &victim.state);
        if (attachment.member_entry(i).pid != pid) continue;
        if (life == MemberLife::alive) found.push_back(victim);
        if (life == MemberLife::unclear) {
            throw Error{Errc::not_supported, "arena '" + attachment.name +
                                                 "': the kernel does not say here whether "
                                                 "process " +
                                                 std::to_string(pid) +
                                                 " lives; evict it from outside of this sandbox"};
        }
    }
    return found;
}

void kill_members(Attachment& attachment, std::uint32_t pid, const std::vector<Victim>& victims,
                  const std::string& what) {
    const os::Fd process = os::open_process(pid);
    if (!process && errno == ESRCH) return;
    if (!process) {
        const int error = errno;
        throw Error{Errc::not_supported,
                    what + " cannot be named safely: pidfd_open is refused (" +
                        os::error_text(error) + "); end it by other means, then call reap()",
                    error};
    }
    // The number led to the member when the pidfd was opened, if it was there before and still is.
    bool is_there = false;
    for (const Victim& victim : victims) is_there = is_there || !is_gone(attachment, victim);
    if (!is_there) return;
    // Only damage makes a member's number another's.
    const os::Answer has_it = os::maps_same_file(pid, attachment.header);
    if (has_it == os::Answer::no) {
        throw Error{Errc::corrupt, what +
                                       " does not have the arena in its memory, whatever the "
                                       "arena says; it is not killed"};
    }
    const bool may_look = has_it == os::Answer::yes;
    if (may_look && (os::send_signal(process, SIGKILL) || errno == ESRCH)) return;
    const int error = may_look ? errno : EPERM;
    throw Error{
        Errc::not_permitted,
        what + " cannot be killed: " + os::error_text(error) + "; ask its owner or root to end it",
        error};
}

}  // namespace

Outcome evict(Attachment* attachment, std::uint32_t pid, const Patience& patience) {
    ensure_member(attachment);
    const std::string what = "arena '" + attachment->name + "': process " + std::to_string(pid);
    if (pid == os::process_id()) {
        throw Error{Errc::invalid_argument, what + " is this one; it cannot evict itself"};
    }
    // What is dead already is repaired, and its number found no more.
    (void)repair_the_dead(*attachment);
    const std::vector<Victim> victims = victims_of(*attachment, pid);
    if (victims.empty()) {
        throw Error{Errc::not_found, what + " is not attached; `lagoon show " + attachment->name +
                                         "` lists those that are"};
    }
    for (const Victim& victim : victims) {
        if (attachment->member_entry(victim.index).pid_namespace == os::pid_namespace()) continue;
        throw Error{Errc::not_supported,
                    what +
                        " is in another PID namespace, where the number means somebody else "
                        "than here; evict it from there"};
    }
    kill_members(*attachment, pid, victims, what);
    Sleeper sleeper{attachment->root(), attachment->header->event, patience};
    for (;;) {
        // E2 acquire load <- E1: read before the members are looked at. kept: the kernel compares
        // it again before the sleep.
        const std::uint32_t seen = attachment->header->event.load(std::memory_order_acquire);
        bool gone = true;
        for (const Victim& victim : victims) gone = gone && is_gone(*attachment, victim);
        if (gone) break;
        if (sleeper.stop_requested()) return Outcome::cancelled;
        if (sleeper.expired()) return Outcome::timed_out;
        (void)sleeper.sleep(seen);
    }
    (void)repair_the_dead(*attachment);
    return Outcome::ok;
}

}  // namespace lagoon::inline v1::detail

namespace lagoon::inline v1 {

Outcome evict(std::string_view name, std::uint32_t pid, const OpenOptions& options,
              std::chrono::steady_clock::time_point deadline) {
    ArenaOptions all;
    all.owner = options.owner;
    all.directory = options.directory;
    all.keeper = options.keeper;
    detail::Attachment* attachment = detail::attach_untyped(name, all);
    const std::unique_ptr<detail::Attachment, void (*)(detail::Attachment*)> handle{
        attachment, &detail::drop_handle};
    return detail::evict(attachment, pid, {deadline, {}});
}

}  // namespace lagoon::inline v1
