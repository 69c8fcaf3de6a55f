// arena_calls_test.cpp: killed at every system call of making, opening, leaving and removing an
// arena, and two makers stepped against each other.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <optional>
#include <string>

#include "kill/rig.hpp"
#include "kill/scene.hpp"

using lagoon::Arena;
using lagoon::Errc;
using lagoon::Lifetime;
using rig::Stepper;
using rig::Stop;
using scene::Desk;
using scene::leave_stale;
using scene::require_reusable;
using scene::require_unclaimed;
using scene::require_whole;
using scene::Resident;
using support::Child;
using support::code_of;
using support::exists;
using support::file_of;
using support::Flag;
using support::unique_name;

namespace {

struct Nothing {};
Nothing nothing() { return {}; }

void print(const char* what, std::uint64_t points) {
    std::printf("kill points: %4llu  %s\n", static_cast<unsigned long long>(points), what);
    std::fflush(stdout);
    REQUIRE(points > 0);
}

}  // namespace

TEST_CASE("kill: at every system call of create", "[kill][process]") {
    const auto lifetime = GENERATE(Lifetime::scoped, Lifetime::persistent);
    const auto name = unique_name("create");
    bool named = false;
    bool unnamed = false;
    const auto points = rig::kill_everywhere(
        [] {}, nothing, [&](Nothing) { Arena<Desk>::create(name, scene::small(lifetime)); },
        [&](bool over) {
            if (!over) (exists(file_of(name)) ? named : unnamed) = true;
            require_reusable(name, lifetime);
        });
    print(lifetime == Lifetime::scoped ? "create and leave" : "create and leave, persistent",
          points);
    REQUIRE(named);
    REQUIRE(unnamed);
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("kill: at every system call of create where dead processes have left the name",
          "[kill][process]") {
    const auto name = unique_name("stale");
    const bool by_open = GENERATE(false, true);
    const auto points = rig::kill_everywhere(
        [&] { leave_stale(name); }, nothing,
        [&](Nothing) {
            if (by_open) {
                Arena<Desk>::open_or_create(name, scene::small(Lifetime::scoped));
            } else {
                Arena<Desk>::create(name, scene::small(Lifetime::scoped));
            }
        },
        [&](bool) { require_reusable(name, Lifetime::scoped); });
    print(by_open ? "open_or_create over a dead one's name" : "create over a dead one's name",
          points);
}

TEST_CASE("kill: at every system call of open and close beside a living member",
          "[kill][process]") {
    const auto name = unique_name("open");
    const Resident resident{name};
    const auto points = rig::kill_everywhere([] {}, nothing,
                                             [&](Nothing) {
                                                 auto desk = Arena<Desk>::open(name);
                                                 auto lease = desk->pool.acquire();
                                                 lease.give_back();
                                                 desk.close();
                                             },
                                             [&](bool) {
                                                 const auto desk = Arena<Desk>::open(name);
                                                 require_whole(desk);
                                                 require_unclaimed(desk, 1);
                                             });
    print("open, use and close beside a living member", points);
}

TEST_CASE("kill: at every system call of open and close of a persistent arena", "[kill][process]") {
    const auto name = unique_name("persistent");
    Arena<Desk>::create(name, scene::small(Lifetime::persistent)).close();
    const auto points =
        rig::kill_everywhere([] {}, nothing, [&](Nothing) { Arena<Desk>::open(name).close(); },
                             [&](bool) {
                                 const auto desk = Arena<Desk>::open(name);
                                 require_whole(desk);
                                 require_unclaimed(desk, 0);
                             });
    print("open and close of a persistent arena", points);
    REQUIRE(lagoon::remove(name));
}

TEST_CASE("kill: at every system call of the last member's close", "[kill][process]") {
    const auto name = unique_name("close");
    const auto points = rig::kill_everywhere(
        [] {}, [&] { return Arena<Desk>::create(name, scene::small(Lifetime::scoped)); },
        [](Arena<Desk>& desk) { desk.close(); },
        [&](bool over) {
            if (over) {
                REQUIRE_FALSE(exists(file_of(name)));
            }
            require_reusable(name, Lifetime::scoped);
        });
    print("the last one's close", points);
}

TEST_CASE("kill: at every system call of shut_down", "[kill][process]") {
    const auto name = unique_name("shut_down");
    const auto points = rig::kill_everywhere(
        [] {}, [&] { return Arena<Desk>::create(name, scene::small(Lifetime::scoped)); },
        [](Arena<Desk>& desk) { desk.shut_down(); },
        [&](bool) { require_reusable(name, Lifetime::scoped); });
    print("shut_down", points);
}

TEST_CASE("kill: at every system call of shut_down beside a living member", "[kill][process]") {
    const auto name = unique_name("ended");
    const auto lifetime = GENERATE(Lifetime::scoped, Lifetime::persistent);
    std::optional<Arena<Desk>> ours;
    std::uint64_t half = 0;
    std::uint64_t looks = 0;
    const auto points = rig::kill_everywhere(
        [&] { ours = Arena<Desk>::create(name, scene::small(lifetime)); },
        [&] { return Arena<Desk>::open(name); }, [](Arena<Desk>& desk) { desk.shut_down(); },
        [&](bool over) {
            // As a member that the death wakes does it.
            (void)ours->reap();
            const bool named = exists(file_of(name));
            const bool ended = ours->attached().header->state.load(std::memory_order_acquire) != 0;
            if (over) REQUIRE((ended && !named));
            if (ended && named) ++half;
            REQUIRE((*ours)->pool.closed() == ended);
            if (!ended) {
                const auto desk = Arena<Desk>::open(name);
                require_whole(desk);
                require_unclaimed(desk, 0);
            }
            bool created = false;
            switch (looks++ % 3) {
                case 0: {
                    const auto desk = Arena<Desk>::open_or_create(name, scene::small(lifetime));
                    created = desk.created();
                    break;
                }
                case 1:
                    created = code_of([&] {
                                  return Arena<Desk>::create(name, scene::small(lifetime));
                              }) == Errc{};
                    break;
                default:
                    created =
                        code_of([&] { return Arena<Desk>::open(name); }) == Errc::no_such_arena;
                    break;
            }
            REQUIRE(created == ended);
            ours.reset();
            (void)lagoon::remove(name);
        });
    print(lifetime == Lifetime::scoped ? "shut_down beside a living member"
                                       : "shut_down beside a living member, persistent",
          points);
    REQUIRE(half > 0);
}

TEST_CASE("kill: at every system call of remove and reap", "[kill][process]") {
    const auto name = unique_name("remove");
    const auto persistent = rig::kill_everywhere(
        [&] {
            if (!exists(file_of(name))) {
                Arena<Desk>::create(name, scene::small(Lifetime::persistent)).close();
            }
        },
        nothing, [&](Nothing) { lagoon::remove(name); },
        [&](bool over) {
            if (over) {
                REQUIRE_FALSE(exists(file_of(name)));
            }
            if (!exists(file_of(name))) return;
            const auto desk = Arena<Desk>::open(name);
            require_whole(desk);
            require_unclaimed(desk, 0);
        });
    print("remove", persistent);
    const auto stale =
        rig::kill_everywhere([&] { leave_stale(name); }, nothing,
                             [&](Nothing) { (void)code_of([&] { return lagoon::reap(name); }); },
                             [&](bool) { require_reusable(name, Lifetime::scoped); });
    print("reap of a name that dead processes have left", stale);
}

TEST_CASE("kill: at every system call of a repair", "[kill][process]") {
    const auto name = unique_name("repair");
    const Resident resident{name};
    const auto points = rig::kill_everywhere(
        [&] {
            // Somebody dies with a lease, the lock and threads' lanes.
            REQUIRE(support::in_child([&] {
                        const auto desk = Arena<Desk>::open(name);
                        const auto lease = desk->pool.acquire();
                        if (!desk->lock.try_lock()) return 1;
                        ::_exit(0);
                        return 1;
                    }) == support::exited(0));
        },
        nothing, [&](Nothing) { (void)lagoon::reap(name); },
        [&](bool) {
            const auto desk = Arena<Desk>::open(name);
            require_unclaimed(desk, 1);
        });
    print("reap beside a living member", points);
}

TEST_CASE("kill: at every system call of a forked child's first use", "[kill][process]") {
    const auto name = unique_name("fork");
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const auto points = rig::kill_everywhere(
        [] {}, [&] { return Arena<Desk>::create(name, scene::small(Lifetime::scoped)); },
        [&](Arena<Desk>& desk) {
            const pid_t pid = ::_Fork();
            if (pid == 0) {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                desk->pool.acquire().give_back();
                ::_exit(0);
            }
            ::waitpid(pid, nullptr, 0);
            (void)desk.reap();
            desk.close();
        },
        [&](bool) {
            // The orphan is ours now; it dies a moment after its parent.
            while (::waitpid(-1, nullptr, 0) > 0) {
            }
            require_reusable(name, Lifetime::scoped);
        });
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
    print("fork, reap and close", points);
}

TEST_CASE("kill: two makers stepped against each other never both win", "[kill][process]") {
    const auto name = unique_name("makers");
    const auto lifetime = GENERATE(Lifetime::scoped, Lifetime::persistent);
    const bool stale = GENERATE(false, true);
    struct Result {
        std::atomic<int> created;
        std::atomic<int> taken;
        std::atomic<int> failed;
    };
    std::uint64_t schedules = 0;
    std::uint64_t length = 0;
    for (std::uint64_t first = 1; length == 0 || first <= length; ++first) {
        // The second one runs from where the first one stands, to its own end or to a stop.
        for (const std::uint64_t second : {std::uint64_t{0}, 3 + first * 7 % 61}) {
            if (stale) leave_stale(name);
            support::Shared<Result> result;
            const Flag leave;
            const auto make = [&](Nothing) {
                std::optional<Arena<Desk>> made;
                const auto code =
                    code_of([&] { made = Arena<Desk>::create(name, scene::small(lifetime)); });
                if (code == Errc{})
                    ++result->created;
                else if (code == Errc::name_taken)
                    ++result->taken;
                else
                    ++result->failed;
                ::raise(SIGSTOP);  // still attached
                leave.wait();
                made.reset();
            };
            Stepper a{nothing, make};
            Stepper b{nothing, make};
            a.step_to(first);
            // One that waits for the other's gate lets the other go first.
            (void)(second == 0 ? b.run() : b.step_to(second));
            a.run();
            b.run();
            a.run();
            INFO("stops " << first << " and " << second);
            REQUIRE(a.state() == Stop::done);
            REQUIRE(b.state() == Stop::done);
            REQUIRE(result->created == 1);
            REQUIRE(result->taken == 1);
            REQUIRE(result->failed == 0);
            {
                const auto desk = Arena<Desk>::open(name);
                require_whole(desk);
                require_unclaimed(desk, 1);
            }
            if (a.stops() < first) length = first;
            leave.raise();
            REQUIRE(a.finish() == support::exited(0));
            REQUIRE(b.finish() == support::exited(0));
            ++schedules;
            if (lifetime == Lifetime::persistent) {
                REQUIRE(lagoon::remove(name));
            }
            REQUIRE_FALSE(exists(file_of(name)));
        }
    }
    std::printf("schedules: %4llu  of two makers%s\n", static_cast<unsigned long long>(schedules),
                stale ? ", over a dead one's name" : "");
    REQUIRE(schedules > 20);
}
