// faults_test.cpp: every fault of the environment against every kind of call.
//
// The table says what each fault does to those who meet it before they have an arena, and to those
// whom it hits afterwards: a slower way, or an error that names what is missing. Whatever it is,
// nobody hangs, nobody who lives is taken for dead, and nothing is left behind. A fault is made in
// a process of its own, by a seccomp filter or a limit; the others of the scene do not have it.
#include <lagoon/lagoon.hpp>

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <functional>
#include <string>

#include "support/arenas.hpp"
#include "support/sandbox.hpp"
#include "support/sanitizers.hpp"

using lagoon::Arena;
using lagoon::Errc;
using lagoon::Lease;
using lagoon::Process;
using support::Child;
using support::Ended;
using support::error_of;
using support::exists;
using support::exited;
using support::file_of;
using support::Flag;
using support::in_child;
using support::not_allowed;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

struct Wide {
    std::uint64_t a = 0, b = 0, c = 0;
};
struct Desk {
    lagoon::Counter total{"total"};
    lagoon::Value<Wide> wide{"wide"};
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> lent{"lent", {.capacity = 1}};      // the scene has it, the fault's waits
    lagoon::Pool<int> kept{"kept", {.capacity = 1}};      // the other way round
    lagoon::Pool<int> mortal{"mortal", {.capacity = 1}};  // held by one who is killed
    lagoon::Pool<int> last{"last", {.capacity = 1}};      // held by the fault's until it is killed
};

int answer(Desk& desk) {
    desk.total.add(1);
    return 42;
}

/// What becomes of a call: nothing but slowness, or one of these errors.
struct Expected {
    std::vector<Errc> errors = {};
    const char* text = "";  // part of the error's
    bool or_works = false;
    [[nodiscard]] bool holds(const std::optional<lagoon::Error>& found) const {
        if (!found) return errors.empty() || or_works;
        const bool listed = std::find(errors.begin(), errors.end(), found->errc()) != errors.end();
        const bool said = std::string{found->what()}.find(text) != std::string::npos;
        if (!listed || !said) std::fprintf(stderr, "not expected: %s\n", found->what());
        return listed && said;
    }
};
const Expected works{};

struct Fault {
    std::string name;
    std::function<bool()> begin;  // in this process, from now on
    Expected create;
    Expected open;
    Expected spawn;
    bool sees_deaths = true;  // of others, once it is hit
};

Fault refusal(std::string name, std::vector<support::Refusal> calls, int error, Expected create,
              Expected open, Expected spawn) {
    return {.name = name + " says " + ::strerrorname_np(error),
            .begin = [calls = std::move(calls), error] { return support::refuse(calls, error); },
            .create = std::move(create),
            .open = std::move(open),
            .spawn = std::move(spawn)};
}

/// No further descriptor.
[[maybe_unused]] bool no_descriptors() {
    const int next = ::dup(STDIN_FILENO);
    ::close(next);
    const rlimit limit{static_cast<rlim_t>(next), static_cast<rlim_t>(next)};
    return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/// No further address space to speak of.
[[maybe_unused]] bool no_memory() {
    std::ifstream pages{"/proc/self/statm"};
    std::uint64_t all = 0;
    pages >> all;
    const rlim_t now = all * 4096 + (std::uint64_t{64} << 10);
    const rlimit limit{now, now};
    return ::setrlimit(RLIMIT_AS, &limit) == 0;
}

constexpr support::Refusal ofd_set{SYS_fcntl, 1, F_OFD_SETLK};
constexpr support::Refusal ofd_get{SYS_fcntl, 1, F_OFD_GETLK};
constexpr support::Refusal unnamed{SYS_openat, 2, O_TMPFILE | O_RDWR | O_CLOEXEC};
constexpr support::Refusal shared_mapping{SYS_mmap, 3, MAP_SHARED};
constexpr support::Refusal stay_out_of_forks{SYS_madvise, 2, MADV_DONTFORK};

std::vector<Fault> faults() {
    std::vector<Fault> all;
    const Expected locks{{Errc::not_supported}, "locks of open file descriptions"};
    const Expected advice{{Errc::not_supported}, "MADV_DONTFORK"};
    const Expected threads{{Errc::system}, "keeper = false"};
    // A worker that cannot begin says why by the join; one that cannot be started, at once.
    const auto fails = [](const Expected& why) {
        Expected spawn = why;
        spawn.errors.push_back(Errc::spawn_failed);
        return spawn;
    };
    for (const int error : {ENOSYS, EPERM}) {
        all.push_back(refusal("membarrier", {{SYS_membarrier}}, error, works, works, works));
        all.push_back(refusal("futex_waitv", {{SYS_futex_waitv}}, error, works, works, works));
        all.push_back(refusal("membarrier and futex_waitv", {{SYS_membarrier}, {SYS_futex_waitv}},
                              error, works, works, works));
        all.push_back(refusal("pidfd_open", {{SYS_pidfd_open}}, error, works, works, works));
        all.push_back(refusal("memfd_create", {{SYS_memfd_create}}, error, works, works, works));
        all.push_back(
            refusal("set_robust_list", {{SYS_set_robust_list}}, error, works, works, works));
        all.push_back(refusal("OFD locks", {ofd_set, ofd_get}, error, locks, locks, fails(locks)));
        all.back().sees_deaths = false;
        all.push_back(refusal("F_OFD_GETLK", {ofd_get}, error, works, works, works));
        all.back().sees_deaths = false;
        all.push_back(
            refusal("MADV_DONTFORK", {stay_out_of_forks}, error, advice, advice, fails(advice)));
        all.push_back(refusal("linkat", {{SYS_linkat}}, error,
                              {{Errc::not_permitted, Errc::system}, "cannot give it the name"},
                              works, works));
        all.push_back(refusal("O_TMPFILE", {unnamed}, error,
                              {{Errc::not_permitted, Errc::system}, "LAGOON_DIR"}, works, works));
        all.push_back(refusal("pwrite", {{SYS_pwrite64}}, error, works, works,
                              {{Errc::spawn_failed}, "report"}));
    }
    all.push_back(refusal("O_TMPFILE", {unnamed}, EOPNOTSUPP, {{Errc::not_supported}, "O_TMPFILE"},
                          works, works));
    all.push_back(refusal("clone", {{SYS_clone}, {SYS_clone3}}, EAGAIN, threads, threads,
                          {{Errc::spawn_failed}, "could not be started"}));
    for (const int error : {ENOSPC, EFBIG}) {
        all.push_back(refusal("fallocate", {{SYS_fallocate}}, error,
                              {{Errc::no_space}, "make the arena smaller"}, works, works));
    }
    const Expected mapping{{Errc::system, Errc::no_space}, "cannot map"};
    all.push_back(
        refusal("shared mmap", {shared_mapping}, ENOMEM, mapping, mapping, fails(mapping)));
    // A sanitizer needs address space of its own, and descriptors to look at memory by.
#if !defined(LAGOON_TEST_ASAN) && !defined(LAGOON_TEST_TSAN)
    const Expected memory{{Errc::system, Errc::no_space}, "Cannot allocate memory"};
    all.push_back({.name = "RLIMIT_NOFILE",
                   .begin = &no_descriptors,
                   .create = {{Errc::system}, "Too many open files"},
                   .open = {{Errc::system}, "Too many open files"},
                   .spawn = {{Errc::spawn_failed}, "Too many open files"}});
    all.push_back({.name = "RLIMIT_AS",
                   .begin = &no_memory,
                   .create = memory,
                   .open = memory,
                   .spawn = {{Errc::spawn_failed}, "", true}});
#endif
    return all;
}

/// The steps of the scene, in the order in which they are raised.
enum Step { waits_for_lent = 1, has_kept, waits_for_mortal, mortal_is_dead, has_last };

/// Everything that a process does with an arena it has, once the fault has hit. It ends asleep,
/// with a lease in its hand, to be killed.
int play(const Arena<Desk>& arena, const Fault& fault, const Flag& step) {
    arena->total.add(1);
    arena->wide.store({1, 2, 3});
    if (!arena->lock.lock()) return 20;
    arena->lock.unlock();
    auto kept = arena->kept.try_acquire();
    if (!kept) return 21;
    step.raise(waits_for_lent);
    arena->lent.acquire().give_back();
    step.raise(has_kept);
    support::wait_until([&] { return arena->kept.stats().waiting == 1; });
    kept.give_back();
    step.raise(waits_for_mortal);
    if (fault.sees_deaths) {
        if (!arena->mortal.acquire().recovered()) return 22;
    } else {
        step.wait(mortal_is_dead);  // but who could know
        if (arena->mortal.acquire_for(100ms)) return 23;
        if (arena.reap() != lagoon::Reaped{}) return 24;
        for (const auto& process : lagoon::ArenaView::open(arena.name()).processes()) {
            if (!process.alive) return 25;
        }
    }
    int code = 42;
    const auto found = error_of([&] {
        auto worker = Process::spawn<answer>(arena);
        code = worker.join().code;
    });
    if (code != 42) return 26;
    if (!fault.spawn.holds(found)) return 27;
    auto last = arena->last.acquire();
    step.raise(has_last);
    for (;;) ::pause();
}

/// Where the fault is there from the beginning. 0 when that was all there is to see.
int begin_with(const Fault& fault, const std::string& name, const Flag& step) {
    if (!fault.begin()) return not_allowed;
    const auto fresh = name + "-fresh";
    if (!fault.create.holds(error_of([&] { return Arena<Desk>::create(fresh); }))) return 10;
    if (exists(file_of(fresh))) return 11;
    std::optional<Arena<Desk>> arena;
    if (!fault.open.holds(error_of([&] { arena = Arena<Desk>::open(name); }))) return 12;
    return arena ? play(*arena, fault, step) : 0;
}

/// Where the fault hits somebody who has the arena.
int go_on_with(const Fault& fault, const std::string& name, const Flag& step) {
    const auto arena = Arena<Desk>::open(name);
    if (!fault.begin()) return not_allowed;
    return play(arena, fault, step);
}

/// Waits until it holds; false when the process has ended before that.
template <class Predicate>
bool until(const Child& hit, Predicate&& holds) {
    bool ended = false;
    support::wait_until([&] {
        siginfo_t info{};
        ended = ::waitid(P_PID, static_cast<id_t>(hit.pid()), &info, WEXITED | WNOHANG | WNOWAIT) !=
                    0 ||
                info.si_pid != 0;
        return ended || holds();
    });
    return !ended;
}

/// The others of the scene, who have no fault, and `lent`. False when the one who has the fault
/// ended too early.
bool play_others(const Arena<Desk>& arena, const Fault& fault, const Flag& step,
                 lagoon::Lease<int>& lent, Child& holder, Child& hit) {
    if (!until(hit, [&] { return step.step() >= waits_for_lent; })) return false;
    if (!until(hit, [&] { return arena->lent.stats().waiting == 1; })) return false;
    lent.give_back();
    if (!until(hit, [&] { return step.step() >= has_kept; })) return false;
    if (!arena->kept.acquire_for(60s)) return false;
    if (!until(hit, [&] { return step.step() >= waits_for_mortal; })) return false;
    if (fault.sees_deaths && !until(hit, [&] { return arena->mortal.stats().waiting == 1; })) {
        return false;
    }
    (void)holder.kill();
    // Who sees deaths may be further already.
    if (!fault.sees_deaths) step.raise(mortal_is_dead);
    return until(hit, [&] { return step.step() >= has_last; });
}

using Play = int (*)(const Fault&, const std::string&, const Flag&);

/// How the process with the fault ended: 0 where it had no arena, killed by us where it had.
Ended play_scene(const Fault& fault, Play part) {
    const auto name = unique_name("fault");
    auto arena = Arena<Desk>::create(name);
    for (auto* pool : {&arena->lent, &arena->kept, &arena->mortal, &arena->last}) {
        REQUIRE(pool->add(1));
    }
    const Flag held;
    Child holder{[&] {
        const auto same = Arena<Desk>::open(name);
        const auto mortal = same->mortal.acquire();
        held.raise();
        for (;;) ::pause();
        return 0;
    }};
    held.wait();
    // Before there is anybody who waits for it.
    auto lent = arena->lent.try_acquire();
    const Flag step;
    Child hit{[&] { return part(fault, name, step); }};
    if (!play_others(arena, fault, step, lent, holder, hit)) return hit.wait();
    const auto ended = hit.kill();
    // Its death is seen by those who can see.
    CHECK(arena->last.acquire_for(60s).recovered());
    arena.close();
    CHECK_FALSE(exists(file_of(name)));
    return ended;
}

}  // namespace

TEST_CASE("faults: whoever meets one from the beginning gets a slower way or a named error",
          "[faults][process]") {
    for (const auto& fault : faults()) {
        DYNAMIC_SECTION(fault.name) {
            const auto ended = play_scene(fault, &begin_with);
            if (ended == exited(not_allowed)) return support::skip("a fault", "no seccomp filters");
            CHECK(ended == (fault.open.errors.empty() ? support::killed_by(SIGKILL) : exited(0)));
        }
    }
}

TEST_CASE("faults: whoever has an arena and is hit by one goes on", "[faults][process]") {
    for (const auto& fault : faults()) {
        DYNAMIC_SECTION(fault.name) {
            const auto ended = play_scene(fault, &go_on_with);
            if (ended == exited(not_allowed)) return support::skip("a fault", "no seccomp filters");
            CHECK(ended == support::killed_by(SIGKILL));
        }
    }
}

TEST_CASE("faults: one process without membarrier takes turns with another that has it",
          "[faults][process]") {
    constexpr int turns = 200;
    const auto name = unique_name("turns");
    const auto arena = Arena<Desk>::create(name);
    REQUIRE(arena->lent.add(0));
    const auto take_turns = [&](const Arena<Desk>& mine, int parity) {
        for (int done = 0; done < turns;) {
            auto lease = mine->lent.acquire_for(60s);
            if (!lease) return 1;
            if (*lease % 2 == parity) {
                ++*lease;
                ++done;
            }
            lease.give_back();
        }
        return 0;
    };
    Child without{[&] {
        if (!support::refuse({{SYS_membarrier}}, EPERM)) return not_allowed;
        return take_turns(Arena<Desk>::open(name), 1);
    }};
    Child with{[&] { return take_turns(Arena<Desk>::open(name), 0); }};
    CHECK(with.wait() == exited(0));
    CHECK(without.wait() == exited(0));
    CHECK(*arena->lent.try_acquire() == 2 * turns);
}
