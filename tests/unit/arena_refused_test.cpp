// arena_refused_test.cpp: an environment that lacks room, /proc or a feature of the kernel.
//
// The lack is made in a forked process, by mounts, memory control groups and seccomp filters of
// its own. Where this machine does not allow that, the case is skipped by name.
#include <lagoon/lagoon.hpp>

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "support/arenas.hpp"
#include "support/sandbox.hpp"

using lagoon::Arena;
using lagoon::ArenaOptions;
using lagoon::ArenaView;
using lagoon::Errc;
using support::Child;
using support::code_of;
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

struct Tally {
    explicit Tally(lagoon::Count n = 8) : numbers{"numbers", n} {}
    lagoon::Counter total{"total"};
    lagoon::Array<std::uint8_t> numbers;
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> pool{"pool", {.capacity = 2}};
};

constexpr std::uint64_t mebibyte = 1 << 20;

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// Creates, opens, uses and closes an arena; 0 when all of it works.
int use_arena(const std::string& name) {
    auto arena = Arena<Tally>::create(name);
    if (!arena->pool.add(1)) return 10;
    auto lease = arena->pool.try_acquire();
    if (!lease) return 11;
    lease.give_back();
    if (!arena->lock.try_lock()) return 12;
    arena->lock.unlock();
    if (arena.reap() != lagoon::Reaped{}) return 13;
    if (code_of([&] { return Arena<Tally>::create(name); }) != Errc::name_taken) return 14;
    if (code_of([&] { return Arena<Tally>::open(name); }) != Errc{}) return 15;
    if (ArenaView::open(name).processes().size() != 1) return 16;
    arena.close();
    return exists(file_of(name)) ? 17 : 0;
}

}  // namespace

TEST_CASE("arena refused: a full tmpfs is an error at creation and leaves nothing",
          "[arena][errors][process]") {
    const auto ended = in_child([] {
        if (!support::small_tmpfs(support::arena_directory(), "1m")) return not_allowed;
        const auto fits = Arena<Tally>::create("fits", {}, mebibyte / 4);
        const auto name = unique_name("full");
        const auto error = error_of([&] { return Arena<Tally>::create(name, {}, mebibyte); });
        if (!error || error->errc() != Errc::no_space) return 1;
        if (!contains(error->what(), "bytes in " + support::arena_directory())) return 2;
        if (exists(file_of(name))) return 3;
        // The room that the attempt took is free again.
        const auto after = Arena<Tally>::create("after", {}, mebibyte / 4);
        // And one that is made full later faults nobody: all of its bytes were reserved.
        fits->numbers.fill(1);
        after->numbers.fill(1);
        return 0;
    });
    if (ended == exited(not_allowed))
        return support::skip("a full tmpfs", "no mounts of one's own");
    REQUIRE(ended == exited(0));
}

TEST_CASE("arena refused: a memory cgroup that cannot hold it is an error, not a kill",
          "[arena][errors][process]") {
    const auto parent = support::memory_group();
    if (parent.empty()) return support::skip("a memory cgroup", "no memory controller");
    const auto group = parent + unique_name("lagoon-test");
    const auto ended = in_child([&] {
        if (!support::limit_memory(group, 64 * mebibyte)) return not_allowed;
        const auto name = unique_name("group");
        const auto error = error_of([&] { return Arena<Tally>::create(name, {}, 128 * mebibyte); });
        if (!error || error->errc() != Errc::no_space) return 1;
        if (!contains(error->what(), "memory cgroup")) return 2;
        if (exists(file_of(name))) return 3;
        return Arena<Tally>::create(name, {}, 8 * mebibyte)->numbers.size() == 8 * mebibyte ? 0 : 4;
    });
    for (int i = 0; i < 100 && exists(group); ++i) {
        (void)::rmdir(group.c_str());
        if (exists(group)) std::this_thread::sleep_for(10ms);
    }
    if (ended == exited(not_allowed)) return support::skip("a memory cgroup", "none can be made");
    REQUIRE(ended == exited(0));
}

TEST_CASE("arena refused: without /proc the error says so", "[arena][errors][process]") {
    const auto name = unique_name("proc");
    const auto arena = Arena<Tally>::create(name);
    const auto ended = in_child([&] {
        if (!support::hide_proc()) return not_allowed;
        for (const auto& error :
             {error_of([&] { return Arena<Tally>::create(unique_name("proc")); }),
              error_of([&] { return Arena<Tally>::open(name); }),
              error_of([&] { return Arena<Tally>::open_or_create(name); })}) {
            if (!error || error->errc() != Errc::not_supported) return 1;
            if (!contains(error->what(), "/proc is not mounted")) return 2;
        }
        return 0;
    });
    if (ended == exited(not_allowed)) return support::skip("no /proc", "no mounts of one's own");
    REQUIRE(ended == exited(0));
}

TEST_CASE("arena refused: without membarrier or futex_waitv all goes on, by slower ways",
          "[arena][errors][process]") {
    const int error = GENERATE(ENOSYS, EPERM);
    const auto name = unique_name("slow");
    const Flag step;
    SECTION("one process") {
        REQUIRE(in_child([&] {
                    if (!support::refuse({{SYS_membarrier}, {SYS_futex_waitv}}, error)) {
                        return not_allowed;
                    }
                    return use_arena(name);
                }) == exited(0));
    }
    SECTION("a waiter is served by another process, and learns of a death") {
        const auto arena = Arena<Tally>::create(name);
        REQUIRE(arena->pool.add(1));
        auto lease = arena->pool.acquire();
        Child waiter{[&] {
            if (!support::refuse({{SYS_membarrier}, {SYS_futex_waitv}}, error)) return not_allowed;
            auto same = Arena<Tally>::open(name);
            step.raise(1);
            same->pool.acquire().give_back();
            step.raise(2);
            if (!same->lock.lock().owner_died()) return 1;
            same->lock.unlock();
            return 0;
        }};
        step.wait(1);
        Child locker{[&] {
            const auto same = Arena<Tally>::open(name);
            if (!same->lock.lock()) return 1;
            step.raise(3);
            for (;;) ::pause();
            return 0;
        }};
        support::wait_until([&] { return arena->lock.is_locked(); });
        lease.give_back();
        std::this_thread::sleep_for(20ms);
        (void)locker.kill();
        REQUIRE(waiter.wait() == exited(0));
    }
}

TEST_CASE(
    "arena refused: where locks of open file descriptions are refused, nobody is taken for "
    "dead",
    "[arena][errors][process]") {
    const int error = GENERATE(ENOSYS, EPERM, EINVAL);
    const auto name = unique_name("locks");
    const Flag step;
    const auto arena = Arena<Tally>::create(name);
    REQUIRE(arena->lock.try_lock());
    Child other{[&] {
        auto same = Arena<Tally>::open(name);
        same->total.add(1);
        step.raise(1);
        step.wait(2);
        // From now on the kernel answers no question about locks.
        if (!support::refuse({{SYS_fcntl, 1, F_OFD_SETLK}, {SYS_fcntl, 1, F_OFD_GETLK}}, error)) {
            return not_allowed;
        }
        if (same.reap() != lagoon::Reaped{}) return 1;
        if (same->lock.try_lock_for(300ms)) return 2;
        if (same->lock.owner_died()) return 3;
        bool alive = true;
        for (const auto& process : ArenaView::open(name).processes()) {
            alive = alive && process.alive;
        }
        if (!alive) return 4;
        (void)lagoon::list_arenas();
        if (!exists(file_of(name))) return 5;
        return 0;
    }};
    step.wait(1);
    step.raise(2);
    REQUIRE(other.wait() == exited(0));
    arena->lock.unlock();
    REQUIRE(in_child([&] {
                if (!support::refuse({{SYS_fcntl, 1, F_OFD_SETLK}, {SYS_fcntl, 1, F_OFD_GETLK}},
                                     error)) {
                    return not_allowed;
                }
                for (const auto& found :
                     {error_of([&] { return Arena<Tally>::create(unique_name("locks")); }),
                      error_of([&] { return Arena<Tally>::open(name); }),
                      error_of([&] { return Arena<Tally>::open_or_create(name); })}) {
                    if (!found || found->errc() != Errc::not_supported) return 1;
                    if (!contains(found->what(), "locks of open file descriptions")) return 2;
                }
                // The living one's name is not for the taking.
                return code_of([&] { return Arena<Tally>::create(name); }) == Errc::name_taken ? 0
                                                                                               : 3;
            }) == exited(0));
    REQUIRE(exists(file_of(name)));
}

TEST_CASE("arena refused: without MADV_DONTFORK or MADV_WIPEONFORK there is no arena",
          "[arena][errors][process]") {
    const int error = GENERATE(ENOSYS, EPERM, EINVAL);
    const int advice = GENERATE(MADV_DONTFORK, MADV_WIPEONFORK);
    const auto name = unique_name("advice");
    // A program that has used no arena yet: this one has.
    REQUIRE(
        in_child([&] {
            if (!support::refuse({{SYS_madvise, 2, static_cast<std::uint32_t>(advice)}}, error)) {
                return not_allowed;
            }
            ::setenv("LAGOON_TEST_ADVICE", name.c_str(), 1);
            ::execl("/proc/self/exe", "lagoon_unit_arena", "[.advice]", "-w", "NoTests",
                    static_cast<char*>(nullptr));
            return 1;
        }) == exited(0));
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("arena refused: in a program of its own, without an advice to the kernel", "[.advice]") {
    const std::string name = std::getenv("LAGOON_TEST_ADVICE");
    const auto found = error_of([&] { return Arena<Tally>::create(name); });
    REQUIRE(found);
    REQUIRE(found->errc() == Errc::not_supported);
    REQUIRE(contains(found->what(), "MADV_"));
    REQUIRE(code_of([&] { return Arena<Tally>::open_or_create(name); }) == Errc::not_supported);
}

TEST_CASE("arena refused: where prefaulting is refused, the arena says that it was not",
          "[arena][errors][process]") {
    REQUIRE(in_child([&] {
                if (!support::refuse({{SYS_madvise, 2, MADV_POPULATE_WRITE}}, EINVAL)) {
                    return not_allowed;
                }
                const auto arena =
                    Arena<Tally>::create(unique_name("prefault"), {.prefault = true});
                return arena.prefaulted() ? 1 : 0;
            }) == exited(0));
}

TEST_CASE("arena refused: where no thread is to be had, the error says what to set",
          "[arena][errors][process]") {
    REQUIRE(in_child([&] {
                if (!support::refuse({{SYS_clone}, {SYS_clone3}}, EAGAIN)) return not_allowed;
                const auto name = unique_name("threads");
                const auto found = error_of([&] { return Arena<Tally>::create(name); });
                if (!found || found->errc() != Errc::system) return 1;
                if (!contains(found->what(), "keeper = false")) return 2;
                if (exists(file_of(name))) return 3;
                auto arena = Arena<Tally>::create(name, {.keeper = false});
                if (!arena->pool.add(1)) return 4;
                arena.close();
                return exists(file_of(name)) ? 5 : 0;
            }) == exited(0));
}
