// members_test.cpp: who is attached, who is dead, and who finds out.
// One piece although long: the cases share the processes that come and die.
#include <lagoon/lagoon.hpp>

#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <random>
#include <runtime/attachment.hpp>
#include <runtime/members.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/pools.hpp"

using lagoon::Arena;
using lagoon::ArenaOptions;
using lagoon::ArenaView;
using lagoon::Lease;
using lagoon::Outcome;
using lagoon::Reaped;
using support::Child;
using support::exists;
using support::exited;
using support::file_of;
using support::Flag;
using support::in_child;
using support::Shared;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

using Wide = std::array<std::uint64_t, 8>;

struct Desk {
    lagoon::Counter total{"total"};
    lagoon::Lock lock{"lock"};
    lagoon::Value<Wide> wide{"wide"};
    lagoon::Value<int> narrow{"narrow"};
    lagoon::Pool<int> pool{"pool", {.capacity = 4}};
};

ArenaOptions without_keeper() {
    ArenaOptions options;
    options.keeper = false;
    return options;
}

lagoon::ProcessInfo member(const std::string& name, pid_t pid) {
    for (const auto& process : ArenaView::open(name).processes()) {
        if (process.pid == static_cast<std::uint32_t>(pid)) return process;
    }
    return {};
}

std::uint64_t claimed_lanes(const Arena<Desk>& desk) {
    const auto& attachment = desk.attached();
    std::uint64_t count = 0;
    for (auto i = attachment.header->max_members; i < attachment.header->max_lanes; ++i) {
        if (lagoon::detail::is_live(
                attachment.lane_entry(i).state.load(std::memory_order_relaxed))) {
            ++count;
        }
    }
    return count;
}

}  // namespace

TEST_CASE("members: a killed one is seen as dead, and reap says what it held",
          "[members][process]") {
    const bool keeper = GENERATE(true, false);
    const auto name = unique_name("members");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const Flag holding;
    auto other = support::holder<Desk>(name, holding, keeper);
    holding.wait();
    const auto pid = other.pid();
    REQUIRE(member(name, pid).alive);
    REQUIRE(member(name, pid).keeper == keeper);
    REQUIRE(desk.reap() == Reaped{});
    (void)other.kill();
    REQUIRE_FALSE(member(name, pid).alive);
    REQUIRE(member(name, ::getpid()).alive);
    REQUIRE(desk->pool.leased() == 1);
    const Reaped reaped = desk.reap();
    REQUIRE(reaped.processes == 1);
    REQUIRE(reaped.leases == 1);
    REQUIRE(reaped.locks == 1);
    REQUIRE(desk.reap() == Reaped{});
    REQUIRE(ArenaView::open(name).processes().size() == 1);
    REQUIRE(ArenaView::open(name).deaths() == 1);
    REQUIRE(desk->pool.try_acquire().recovered());
    REQUIRE(desk->lock.try_lock().owner_died());
}

TEST_CASE("members: the lock that tells of a life is not the arena's own descriptor's",
          "[members]") {
    // A forked child shares that one: asked through it, its parent would seem to be dead.
    const auto desk = Arena<Desk>::create(unique_name("members"));
    const auto& attachment = desk.attached();
    REQUIRE(lagoon::os::is_byte_locked(attachment.fd.load(std::memory_order_relaxed),
                                       lagoon::detail::member_byte + attachment.member) ==
            lagoon::os::Answer::yes);
}

TEST_CASE("members: whoever attaches repairs what the dead have left", "[members][process]") {
    const auto name = unique_name("members");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const Flag holding;
    auto other = support::holder<Desk>(name, holding);
    holding.wait();
    (void)other.kill();
    const bool by_view = GENERATE(false, true);
    REQUIRE(in_child([&] {
                if (by_view) {
                    (void)ArenaView::open(name, {.writable = true});
                } else {
                    (void)Arena<Desk>::open(name);
                }
                return 0;
            }) == exited(0));
    REQUIRE(desk->pool.idle() == 1);
    REQUIRE_FALSE(desk->lock.is_locked());
}

TEST_CASE("members: lagoon::reap repairs without the struct", "[members][process]") {
    const auto name = unique_name("members");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const Flag holding;
    auto other = support::holder<Desk>(name, holding);
    holding.wait();
    (void)other.kill();
    Shared<Reaped> reaped;
    REQUIRE(in_child([&] {
                *reaped = lagoon::reap(name);
                return 0;
            }) == exited(0));
    REQUIRE(reaped->processes == 1);
    REQUIRE(reaped->leases == 1);
    REQUIRE(desk->pool.idle() == 1);
}

TEST_CASE("members: who waits is woken by a death, without anybody's help", "[members][process]") {
    const bool keeper = GENERATE(true, false);
    const auto name = unique_name("members");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const Flag holding;
    auto other = support::holder<Desk>(name, holding, keeper);
    holding.wait();
    Child waiter{[&] {
        const auto same = Arena<Desk>::open(name);
        holding.raise(2);
        return same->pool.acquire().recovered() && same->lock.lock().owner_died() ? 0 : 1;
    }};
    holding.wait(2);
    std::this_thread::sleep_for(5ms);
    (void)other.kill();
    REQUIRE(waiter.wait() == exited(0));
}

TEST_CASE("members: _exit without close leaves nothing claimed after a reap",
          "[members][process]") {
    const auto name = unique_name("members");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    REQUIRE(in_child([&] {
                const auto same = Arena<Desk>::open(name);
                auto lease = same->pool.acquire();
                std::thread{[&] { same->total.add(static_cast<int>(same->pool.idle())); }}.join();
                ::_exit(3);
                return 0;
            }) == exited(3));
    REQUIRE(desk.reap().processes == 1);
    REQUIRE(desk->pool.idle() == 1);
    REQUIRE(claimed_lanes(desk) <= 1);
}

TEST_CASE("members: exec ends a membership, too", "[members][process]") {
    const auto name = unique_name("members");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const Flag holding;
    Child other{[&] {
        const auto same = Arena<Desk>::open(name);
        const auto lease = same->pool.acquire();
        holding.raise();
        ::execlp("sleep", "sleep", "60", static_cast<char*>(nullptr));
        return 1;
    }};
    holding.wait();
    support::wait_until([&] { return desk.reap().processes == 1; });
    REQUIRE(desk->pool.idle() == 1);
    REQUIRE(::kill(other.pid(), 0) == 0);
}

TEST_CASE("members: while they come and go, nobody alive is taken for dead", "[members][process]") {
    const auto name = unique_name("members");
    const Flag made;
    Shared<std::atomic<bool>> stop;
    Shared<std::atomic<std::uint64_t>> visits;
    std::vector<Child> children;  // forked first: a handle of ours would keep them attached
    for (int i = 0; i < 3; ++i) {
        children.emplace_back([&] {
            made.wait();
            while (!*stop) {
                auto same =
                    Arena<Desk>::open(name, lagoon::OpenOptions{.directory = {}, .keeper = false});
                same->total.add(1);
                same.close();
                ++*visits;
            }
            return 0;
        });
    }
    const auto desk = Arena<Desk>::create(name);
    made.raise();
    auto& attachment = desk.attached();
    std::uint64_t asks = 0;
    std::uint64_t dead = 0;
    for (; asks < 500'000 || *visits < 3000; asks += 3) {
        for (std::uint32_t other = 1; other < 4; ++other) {
            // The question that all repairs rest on, without what is asked again before them.
            const auto life =
                lagoon::detail::member_life(attachment.fd.load(std::memory_order_relaxed),
                                            attachment.member_entry(other), other);
            if (life == lagoon::detail::MemberLife::dead) ++dead;
        }
    }
    // And it is the same for who repairs: it finds nobody.
    REQUIRE(desk.reap() == Reaped{});
    *stop = true;
    for (auto& child : children) REQUIRE(child.wait() == exited(0));
    std::printf("members: %llu asks while %llu came and went\n",
                static_cast<unsigned long long>(asks), static_cast<unsigned long long>(*visits));
    REQUIRE(*visits > 0);
    REQUIRE(dead == 0);
    REQUIRE(ArenaView::open(name).deaths() == 0);
}

TEST_CASE("members: one who closes all descriptors stays alive and takes part",
          "[members][process]") {
    const auto name = unique_name("members");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const Flag step;
    Child other{[&] {
        const auto same = Arena<Desk>::open(name);
        auto lease = same->pool.acquire();
        if (::syscall(SYS_close_range, 3, ~0U, 0) != 0) return 1;
        step.raise(1);
        step.wait(2);
        // New descriptors of the host's own must not be taken for the arena's, nor closed.
        const int own = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        lease.give_back();
        if (same->pool.add(7) != true) return 2;
        (void)same.reap();
        if (lagoon::detail::member_life(same.attached(), 0) != lagoon::detail::MemberLife::alive) {
            return 3;
        }
        auto again = Arena<Desk>::open(name);
        again.close();
        auto last = same;
        last.close();
        return ::fcntl(own, F_GETFD) >= 0 ? 0 : 4;
    }};
    step.wait(1);
    for (int i = 0; i < 100; ++i) REQUIRE(desk.reap() == Reaped{});
    REQUIRE(member(name, other.pid()).alive);
    REQUIRE(desk->pool.leased() == 1);
    step.raise(2);
    REQUIRE(other.wait() == exited(0));
    REQUIRE(desk->pool.idle() == 2);
}

TEST_CASE("lanes: a thread's exit frees its lane, which the next thread uses", "[members]") {
    const auto desk = Arena<Desk>::create(unique_name("lanes"));
    REQUIRE(desk->pool.add(1));
    const auto use = [&] { desk->pool.acquire().give_back(); };
    const auto before = claimed_lanes(desk);  // this thread's
    std::thread{use}.join();
    REQUIRE(claimed_lanes(desk) == before);
    std::set<std::uint32_t> lanes;
    for (int i = 0; i < 20; ++i) {
        std::thread{[&] {
            use();
            lanes.insert(lagoon::detail::lane_of(&desk.root()).lane);
        }}.join();
    }
    REQUIRE(lanes.size() == 1);
    REQUIRE(claimed_lanes(desk) == before);
}

TEST_CASE("lanes: an exiting thread hands its leases and locks over to its process",
          "[members][process]") {
    const auto name = unique_name("lanes");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const auto before = claimed_lanes(desk);  // this thread's
    Lease<int> lease;
    bool locked = false;
    std::thread{[&] {
        lease = desk->pool.acquire();
        locked = desk->lock.try_lock();
    }}.join();
    REQUIRE(locked);
    REQUIRE(claimed_lanes(desk) == before);
    REQUIRE(desk->pool.leased() == 1);
    REQUIRE(desk->lock.owner_pid() == static_cast<std::uint32_t>(::getpid()));
    // Neither this process nor another one takes them for a dead one's.
    REQUIRE(desk.reap() == Reaped{});
    REQUIRE(in_child([&] { return Arena<Desk>::open(name).reap() == Reaped{} ? 0 : 1; }) ==
            exited(0));
    // Somebody else gets the lane now, and nothing with it.
    bool robbed = false;
    std::thread{[&] {
        robbed = desk->pool.try_acquire().status() != Outcome::would_block || desk->lock.try_lock();
    }}.join();
    REQUIRE_FALSE(robbed);
    *lease = 5;
    lease.give_back();
    desk->lock.unlock();
    REQUIRE(*desk->pool.acquire() == 5);
}

TEST_CASE("lanes: what a dead process's threads had handed over comes back, too",
          "[members][process]") {
    const auto name = unique_name("lanes");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    REQUIRE(in_child([&] {
                const auto same = Arena<Desk>::open(name);
                Lease<int> lease;
                std::thread{[&] {
                    lease = same->pool.acquire();
                    (void)same->lock.try_lock();
                }}.join();
                ::_exit(0);
                return 0;
            }) == exited(0));
    const auto reaped = desk.reap();
    REQUIRE(reaped.leases == 1);
    REQUIRE(reaped.locks == 1);
}

TEST_CASE("lanes: when none is left, threads share the process's and nothing fails", "[members]") {
    ArenaOptions options = without_keeper();
    options.max_threads = 2;
    options.max_processes = 2;
    auto desk = Arena<Desk>::create(unique_name("lanes"), options);
    for (int i = 0; i < 4; ++i) REQUIRE(desk->pool.add(i));
    constexpr int threads = 6;
    std::atomic<int> sharing{0};
    std::atomic<int> ready{0};
    std::atomic<std::uint64_t> lent{0};
    std::atomic<std::uint64_t> failures{0};
    std::vector<std::thread> crew;
    for (int i = 0; i < threads; ++i) {
        crew.emplace_back([&] {
            if (lagoon::detail::lane_of(&desk.root()).shared) ++sharing;
            ++ready;
            while (ready < threads) std::this_thread::yield();
            for (int round = 0; round < 2000; ++round) {
                auto lease = desk->pool.acquire();
                if (!lease) ++failures;
                ++lent;
                if (round % 16 == 0) {
                    if (!desk->lock.lock()) ++failures;
                    Wide wide = desk->wide.load();
                    for (auto& word : wide) ++word;
                    desk->wide.store(wide);
                    desk->lock.unlock();
                    desk->total.add(1);
                }
            }
        });
    }
    for (auto& thread : crew) thread.join();
    REQUIRE(sharing == threads - 1);  // this thread has the other lane
    REQUIRE(failures == 0);
    REQUIRE(desk->pool.idle() == 4);
    REQUIRE(desk->pool.stats().acquired == lent);
    REQUIRE(desk->wide.load()[7] == static_cast<std::uint64_t>(desk->total.load()));
    desk.close();
}

TEST_CASE("keeper: one thread of its name, with all signals blocked, while there is an arena",
          "[members][process]") {
    const auto threads = [] {
        std::vector<std::string> names;
        for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
            std::string name;
            std::getline(std::ifstream{task.path() / "comm"}, name);
            names.push_back(name);
        }
        std::sort(names.begin(), names.end());
        return names;
    };
    const auto before = threads();
    auto one = Arena<Desk>::create(unique_name("keeper"));
    auto two = Arena<Desk>::create(unique_name("keeper"));
    auto expected = before;
    expected.emplace_back("lagoon-keeper");
    std::sort(expected.begin(), expected.end());
    REQUIRE(threads() == expected);
    for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
        std::string name;
        std::getline(std::ifstream{task.path() / "comm"}, name);
        if (name != "lagoon-keeper") continue;
        std::ifstream status{task.path() / "status"};
        for (std::string line; std::getline(status, line);) {
            if (line.rfind("SigBlk:", 0) != 0) continue;
            const auto blocked = std::stoull(line.substr(7), nullptr, 16);
            for (int signal = 1; signal <= SIGRTMAX; ++signal) {
                // The C library keeps 32 and 33 for itself; two cannot be blocked.
                if (signal == SIGKILL || signal == SIGSTOP || signal == 32 || signal == 33)
                    continue;
                INFO(signal);
                REQUIRE((blocked >> (signal - 1) & 1) == 1);
            }
        }
    }
    one.close();
    REQUIRE(threads() == expected);
    two.close();
    REQUIRE(threads() == before);
    const auto none = Arena<Desk>::create(unique_name("keeper"), without_keeper());
    REQUIRE(threads() == before);
}

TEST_CASE("keeper: the deaths of all arenas of a process are told", "[members][process]") {
    const auto first = unique_name("keeper");
    const auto second = unique_name("keeper");
    const auto third = unique_name("keeper");
    const auto a = Arena<Desk>::create(first);
    const auto b = Arena<Desk>::create(second);
    const auto c = Arena<Desk>::create(third);
    const Flag step;
    Child other{[&] {
        const auto x = Arena<Desk>::open(first);
        auto y = Arena<Desk>::open(second);
        const auto z = Arena<Desk>::open(third);
        y.close();  // out of the middle of the list
        const auto again = Arena<Desk>::open(second);
        step.raise();
        for (;;) ::pause();
        return 0;
    }};
    step.wait();
    (void)other.kill();
    for (const auto* arena : {&a, &b, &c}) {
        bool marked = false;
        auto& attachment = arena->attached();
        for (std::uint32_t i = 0; i < attachment.header->max_members; ++i) {
            marked =
                marked || (attachment.member_entry(i).death_word.load(std::memory_order_acquire) &
                           0x40000000) != 0;
        }
        REQUIRE(marked);
    }
}
