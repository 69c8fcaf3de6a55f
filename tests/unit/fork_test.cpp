// fork_test.cpp: a child that was forked, by whichever call, holds nothing of its parent's and
// takes part on its own.
// One piece although long: the cases share the ways to copy a process and to wait for the copy.
#include <lagoon/lagoon.hpp>

#include <sched.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <optional>
#include <runtime/arena_file.hpp>
#include <string>
#include <thread>
#include <vector>

#include "support/arenas.hpp"
#include "support/sanitizers.hpp"

using lagoon::Arena;
using lagoon::ArenaView;
using lagoon::Count;
using lagoon::Lease;
using lagoon::Outcome;
using lagoon::Reaped;
using support::Child;
using support::code_of;
using support::Ended;
using support::exists;
using support::exited;
using support::file_of;
using support::Flag;
using support::in_child;
using support::Shared;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

struct Desk {
    lagoon::Counter total{"total"};
    lagoon::ShardedCounter hits{"hits"};
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> pool{"pool", {.capacity = 4}};
};

/// The ways to get a copy of this process.
enum class Way { fork, plain_fork, raw_clone };
const char* name_of(Way way) {
    return way == Way::fork ? "fork" : way == Way::plain_fork ? "_Fork" : "clone";
}

pid_t copy_process(Way way) {
    std::fflush(nullptr);
    switch (way) {
        case Way::fork: return ::fork();
        case Way::plain_fork: return ::_Fork();
        case Way::raw_clone: break;
    }
    return static_cast<pid_t>(::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

Ended wait_for(pid_t pid) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) return {};
    }
    return WIFSIGNALED(status) ? support::killed_by(WTERMSIG(status)) : exited(WEXITSTATUS(status));
}

/// Runs `body` in a copy of this process, in which nothing of the test is destroyed.
template <class Body>
Ended in_copy(Way way, Body&& body) {
    const pid_t pid = copy_process(way);
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        support::end_with(body);
    }
    return wait_for(pid);
}

#if defined(LAGOON_TEST_TSAN) || defined(LAGOON_TEST_ASAN)
// A sanitizer has locks of its own, which only fork puts in order for the child.
Way each_way() { return Way::fork; }
#else
Way each_way() { return GENERATE(Way::fork, Way::plain_fork, Way::raw_clone); }
#endif

constexpr bool follows_threads_of_a_child = !support::under_tsan;
constexpr const char* cannot_follow = "thread sanitizer cannot follow a forked child's keeper";

std::size_t members_of(const std::string& name) { return ArenaView::open(name).processes().size(); }

}  // namespace

TEST_CASE("fork: a child holds nothing until its first use, which attaches it afresh",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const std::uint32_t own_member = lagoon::detail::lane_of(&desk.root()).member;
    const std::uint32_t own_lane = lagoon::detail::lane_of(&desk.root()).lane;
    REQUIRE(in_copy(way, [&] {
                if (members_of(name) != 1) return 1;
                // Counters are plain words of the arena: no membership is needed.
                desk->total.add(1);
                if (members_of(name) != 1) return 2;
                desk->hits.add(1);
                if (members_of(name) != 2) return 3;
                const auto& lane = lagoon::detail::lane_of(&desk.root());
                if (lane.member == own_member || lane.lane == own_lane) return 4;
                auto lease = desk->pool.acquire();
                if (!lease || desk->pool.leased() != 1) return 5;
                lease.give_back();
                if (!desk->lock.try_lock()) return 6;
                if (desk->lock.owner_pid() != static_cast<std::uint32_t>(::getpid())) return 7;
                desk->lock.unlock();
                return desk.reap() == Reaped{} ? 0 : 8;
            }) == exited(0));
    REQUIRE(desk->total.load() == 1);
    REQUIRE(desk->hits.load() == 1);
    REQUIRE(desk.reap().processes == 1);
    REQUIRE(members_of(name) == 1);
}

TEST_CASE("fork: a lease of the parent's is not the child's to give back", "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    REQUIRE(desk->pool.add(2));
    auto lease = desk->pool.acquire();
    auto older = desk->pool.acquire();
    const int value = *lease;
    // Whether the child has used the pool before it drops its copy or not.
    const bool used_first = GENERATE(false, true);
    REQUIRE(in_copy(way, [&] {
                if (used_first && desk->pool.try_acquire().status() != Outcome::would_block) {
                    return 1;
                }
                {
                    const Lease<int> copy = std::move(lease);
                    older = {};
                }
                if (desk->pool.leased() != 2 || desk->pool.idle() != 0) return 2;
                return desk->pool.try_acquire().status() == Outcome::would_block ? 0 : 3;
            }) == exited(0));
    REQUIRE(desk->pool.leased() == 2);
    REQUIRE(desk.reap().leases == 0);
    REQUIRE(*lease == value);
    *lease = 9;
    lease.give_back();
    REQUIRE(desk->pool.idle() == 1);
    REQUIRE(*desk->pool.try_acquire() == 9);
    older.give_back();
    // The hints and the memory of what was given back last are the parent's still.
    for (int i = 0; i < 100; ++i) REQUIRE(desk->pool.try_acquire());
}

TEST_CASE("fork: whoever uses a copied lease in the child has broken a contract",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto desk = Arena<Desk>::create(unique_name("fork"));
    REQUIRE(desk->pool.add(1));
    auto lease = desk->pool.acquire();
    void (*const uses[])(Lease<int>&) = {
        [](Lease<int>& copy) { *copy = 77; },        [](Lease<int>& copy) { copy.give_back(); },
        [](Lease<int>& copy) { copy.discard(); },    [](Lease<int>& copy) { (void)copy.detach(); },
        [](Lease<int>& copy) { copy.mark_clean(); },
    };
    for (const auto use : uses) {
        REQUIRE(in_copy(way, [&] {
                    lagoon::set_contract_handler([](const char*) noexcept { ::_exit(42); });
                    use(lease);
                    return 0;
                }) == exited(42));
    }
    REQUIRE(*lease == 1);
    REQUIRE(desk->pool.leased() == 1);
}

TEST_CASE("fork: a child whose arena has ended, or has no place for it, is told so",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const bool full = GENERATE(false, true);
    auto desk = Arena<Desk>::create(name, {.max_processes = full ? Count{1} : Count{4}});
    REQUIRE(desk->pool.add(1));
    const Flag step;
    const pid_t pid = copy_process(way);
    if (pid == 0) {
        support::end_with([&] {
            step.wait();
            const Outcome why = full ? Outcome::not_attached : Outcome::closed;
            if (desk->pool.try_acquire().status() != why) return 1;
            if (desk->pool.acquire_for(1h).status() != why) return 2;
            if (desk->pool.acquire_or_create([] { return 2; }).status() != why) return 3;
            if (!desk->pool.acquire_n(1).empty() || desk->pool.add(3)) return 4;
            if (desk->lock.try_lock().status() != why) return 5;
            return desk->lock.try_lock_for(1h).status() == why ? 0 : 6;
        });
    }
    if (!full) desk.close();
    step.raise();
    REQUIRE(wait_for(pid) == exited(0));
}

TEST_CASE("fork: a child may take what its parent gives back, and the reverse", "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto desk = Arena<Desk>::create(unique_name("fork"));
    REQUIRE(desk->pool.add(1));
    desk->pool.acquire().give_back();  // this thread remembers the slot
    const Flag step;
    const pid_t pid = copy_process(way);
    if (pid == 0) {
        support::end_with([&] {
            auto lease = desk->pool.try_acquire();
            if (!lease) return 1;
            step.raise(1);
            step.wait(2);
            lease.give_back();
            step.raise(3);
            step.wait(4);
            return desk->pool.try_acquire().status() == Outcome::would_block ? 0 : 2;
        });
    }
    step.wait(1);
    REQUIRE(desk->pool.try_acquire().status() == Outcome::would_block);
    step.raise(2);
    step.wait(3);
    auto lease = desk->pool.try_acquire();
    REQUIRE(lease);
    step.raise(4);
    REQUIRE(wait_for(pid) == exited(0));
}

TEST_CASE("fork: a parent's death is noticed although its child lives", "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    Shared<std::atomic<pid_t>> grandchild;
    const bool attached = GENERATE(false, true);
    Child parent{[&] {
        const auto same = Arena<Desk>::open(name);
        auto lease = same->pool.acquire();
        if (!same->lock.try_lock()) return 1;
        const pid_t pid = copy_process(way);
        if (pid == 0) {
            if (attached) same->hits.add(1);
            *grandchild = ::getpid();
            for (;;) ::pause();
        }
        for (;;) ::pause();
        return 0;
    }};
    support::wait_until([&] { return *grandchild != 0; });
    REQUIRE(desk.reap() == Reaped{});
    (void)parent.kill();
    const auto reaped = desk.reap();
    REQUIRE(::kill(*grandchild, 0) == 0);
    ::kill(*grandchild, SIGKILL);
    REQUIRE(reaped.processes == 1);
    REQUIRE(reaped.leases == 1);
    REQUIRE(reaped.locks == 1);
}

TEST_CASE("fork: a child's handles are foreign, and a creator's copy never removes the name",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    auto desk = Arena<Desk>::create(name);
    SECTION("destroyed unused") {
        REQUIRE(in_copy(way, [&] {
                    { const auto copy = std::move(desk); }
                    return exists(file_of(name)) ? 0 : 1;
                }) == exited(0));
    }
    SECTION("closed unused") {
        REQUIRE(in_copy(way, [&] {
                    desk.close();
                    return exists(file_of(name)) ? 0 : 1;
                }) == exited(0));
    }
    SECTION("used and closed") {
        if (!follows_threads_of_a_child)
            return support::skip("fork: used and closed", cannot_follow);
        REQUIRE(in_copy(way, [&] {
                    desk->hits.add(1);
                    desk.close();
                    if (members_of(name) != 1) return 1;
                    // And opened again.
                    auto again = Arena<Desk>::open(name);
                    again->total.add(1);
                    if (members_of(name) != 2) return 2;
                    again.close();
                    return members_of(name) == 1 ? 0 : 3;
                }) == exited(0));
        REQUIRE(desk->total.load() == 1);
    }
    SECTION("ended by exit()") {
        REQUIRE(in_copy(way, [&] {
                    static Arena<Desk> kept;  // NOLINT: destroyed at exit
                    kept = desk;
                    if (way != Way::fork) return 0;  // exit() is not for the others
                    std::fflush(nullptr);
                    kept = {};
                    return 0;
                }) == exited(0));
    }
    REQUIRE(exists(file_of(name)));
    REQUIRE(members_of(name) == 1);
    REQUIRE(code_of([&] { return Arena<Desk>::create(name); }) == lagoon::Errc::name_taken);
    desk.close();
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("fork: a child that is the last one left takes the name along", "[fork][process]") {
    if (!follows_threads_of_a_child) return support::skip("fork: the last one left", cannot_follow);
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const Flag step;
    auto desk = Arena<Desk>::create(name);
    const pid_t pid = copy_process(way);
    if (pid == 0) {
        support::end_with([&] {
            desk->hits.add(1);
            step.raise(1);
            step.wait(2);
            if (!exists(file_of(name))) return 1;
            desk.close();
            return exists(file_of(name)) ? 2 : 0;
        });
    }
    step.wait(1);
    desk.close();
    step.raise(2);
    REQUIRE(wait_for(pid) == exited(0));
}

TEST_CASE("fork: a grandchild takes part, too, and every generation is a member of its own",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    REQUIRE(desk->pool.add(2));
    REQUIRE(desk->pool.add(3));
    const auto lease = desk->pool.acquire();
    REQUIRE(in_copy(way, [&] {
                const auto mine = desk->pool.acquire();
                if (!mine) return 1;
                const Ended ended = in_copy(way, [&] {
                    const auto own = desk->pool.try_acquire();
                    if (!own || members_of(name) != 3 || desk->pool.leased() != 3) return 1;
                    ::_exit(0);  // with the lease
                    return 2;
                });
                if (ended != exited(0)) return 2;
                // Its death is its own: it gives back what it held, and nothing of ours.
                if (desk.reap().leases != 1 || desk->pool.leased() != 2) return 3;
                ::_exit(0);
                return 4;
            }) == exited(0));
    REQUIRE(desk.reap().leases == 1);
    REQUIRE(desk->pool.leased() == 1);
}

TEST_CASE("fork: a child forked by a thread while others work is sound", "[fork][process]") {
    if (support::under_asan) {
        return support::skip("fork: while others work",
                             "address sanitizer's allocator may stay locked in such a child");
    }
    // Calls that skip glibc's handlers may leave malloc locked in the child of many threads.
    const auto way = Way::fork;
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    for (int i = 0; i < 4; ++i) REQUIRE(desk->pool.add(i));
    std::atomic<bool> stop{false};
    std::vector<std::thread> crew;
    for (int i = 0; i < 2; ++i) {
        crew.emplace_back([&] {
            while (!stop) {
                desk->pool.acquire().give_back();
                desk->hits.add(1);
            }
        });
    }
    // Threads that begin and end claim and free lanes under the process's mutex.
    crew.emplace_back([&] {
        while (!stop) std::thread{[&] { desk->hits.add(1); }}.join();
    });
    // So do arenas that are opened and closed, whose gate a child must not keep.
    const auto other = unique_name("fork");
    crew.emplace_back([&] {
        while (!stop) Arena<Desk>::create(other, {.keeper = false}).close();
    });
    std::vector<pid_t> children;
    for (int i = 0; i < 20; ++i) {
        const pid_t pid = copy_process(way);
        if (pid == 0) {
            // Only calls that no other thread of the parent can have been inside of.
            desk->hits.add(1);
            auto lease = desk->pool.acquire();
            if (!lease) ::_exit(1);
            lease.give_back();
            ::_exit(0);
        }
        children.push_back(pid);
        if (i % 4 == 3) {
            for (const pid_t child : children) CHECK(wait_for(child) == exited(0));
            children.clear();
        }
    }
    stop = true;
    for (auto& thread : crew) thread.join();
    (void)desk.reap();
    REQUIRE(desk->pool.idle() == 4);
    REQUIRE(members_of(name) == 1);
    REQUIRE_FALSE(exists(file_of(other)));
}

TEST_CASE("fork: a child forked while an arena's gate is held does not keep it",
          "[fork][process]") {
    const auto name = unique_name("fork");
    std::atomic<bool> stop{false};
    std::thread opener{[&] {
        while (!stop) Arena<Desk>::create(name, {.keeper = false}).close();
    }};
    std::vector<pid_t> children;
    for (int i = 0; i < 200; ++i) {
        const pid_t pid = copy_process(Way::fork);
        if (pid == 0) {
            for (;;) ::pause();
        }
        children.push_back(pid);
    }
    stop = true;
    opener.join();
    // With a gate that a sleeping child holds this would fail after ten seconds.
    const auto code = code_of([&] {
        Arena<Desk>::create(name).close();
        return 0;
    });
    for (const pid_t child : children) {
        ::kill(child, SIGKILL);
        (void)wait_for(child);
    }
    REQUIRE(code == lagoon::Errc{});
}

TEST_CASE("fork: a gate is free when its holder is killed, though another thread has forked",
          "[fork][process]") {
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    const auto kind = GENERATE(lagoon::os::LockKind::shared, lagoon::os::LockKind::exclusive);
    Shared<std::atomic<pid_t>> grandchild;
    Child holder{[&] {
        const lagoon::os::Fd fd{::open(file_of(name).c_str(), O_RDWR | O_CLOEXEC)};
        const lagoon::detail::Gate gate{fd.get(), kind, name};
        std::thread{[&] {
            if (copy_process(Way::fork) != 0) return;
            *grandchild = ::getpid();
            for (;;) ::pause();
        }}.join();
        for (;;) ::pause();
        return 0;
    }};
    support::wait_until([&] { return *grandchild != 0; });
    const lagoon::os::Fd fd{::open(file_of(name).c_str(), O_RDWR | O_CLOEXEC)};
    const auto locked = [&] {
        return lagoon::os::is_byte_locked(fd.get(), lagoon::detail::gate_byte);
    };
    const auto before = locked();
    (void)holder.kill();
    const auto after = locked();
    ::kill(*grandchild, SIGKILL);
    REQUIRE(before == lagoon::os::Answer::yes);
    REQUIRE(after == lagoon::os::Answer::no);
}

TEST_CASE("fork: a gate's number that came to be another file's stays open", "[fork][process]") {
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    const lagoon::os::Fd fd{::open(file_of(name).c_str(), O_RDWR | O_CLOEXEC)};
    const lagoon::os::Fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    const int number = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);  // the gate gets it
    ::close(number);
    std::optional<lagoon::detail::Gate> gate{std::in_place, fd.get(), lagoon::os::LockKind::shared,
                                             name};
    REQUIRE(lagoon::os::file_of(number) == lagoon::os::file_of(fd.get()));
    const auto is_open = [&] { return ::fcntl(number, F_GETFD) >= 0; };
    SECTION("by the host of the parent") {
        REQUIRE(::dup2(null.get(), number) == number);
        REQUIRE(in_copy(Way::fork, [&] { return is_open() ? 0 : 1; }) == exited(0));
        gate.reset();
        REQUIRE(is_open());
        ::close(number);
    }
    SECTION("by that of the child") {
        const auto way = each_way();
        REQUIRE(in_copy(way, [&] {
                    // The same file: only who opened it is another.
                    if (is_open() != (way != Way::fork)) return 1;
                    if (::dup2(fd.get(), number) != number) return 2;
                    desk->hits.add(1);
                    if (in_copy(Way::fork, [&] { return is_open() ? 0 : 1; }) != exited(0)) {
                        return 3;
                    }
                    gate.reset();
                    return is_open() ? 0 : 4;
                }) == exited(0));
    }
}

TEST_CASE("fork: a child's first call waits for a gate that is held, and does not give up",
          "[fork][process]") {
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    const lagoon::os::Fd fd{::open(file_of(name).c_str(), O_RDWR | O_CLOEXEC)};
    std::optional<lagoon::detail::Gate> gate{std::in_place, fd.get(),
                                             lagoon::os::LockKind::exclusive, name};
    Child locks{[&] {
        desk->lock.lock();
        return 3;
    }};
    Child counts{[&] {
        desk->hits.add(2);
        return 4;
    }};
    // Longer than an opener waits; or until one has given up.
    const auto end = std::chrono::steady_clock::now() + 11s;
    const auto have_ended = [&](const Child& child) {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(child.pid()), &info,
                        WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid != 0;
    };
    bool early = false;
    support::wait_until([&] {
        early = have_ended(locks) || have_ended(counts);
        return early || std::chrono::steady_clock::now() > end;
    });
    gate.reset();
    REQUIRE_FALSE(early);
    REQUIRE(locks.wait() == exited(3));
    REQUIRE(counts.wait() == exited(4));
    REQUIRE(desk->hits.load() == 2);
    REQUIRE(desk.reap().locks == 1);
}

TEST_CASE("fork: a child forked during another thread's first use can use the library",
          "[fork][process]") {
    const auto program =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "lagoon_unit_first_use";
    const char* const place = GENERATE("memory", "number", "before", "after");
    INFO(place);
    REQUIRE(in_child([&] {
                ::execl(program.c_str(), program.c_str(), place, nullptr);
                return 98;
            }) == exited(0));
}

TEST_CASE("fork: a process started by posix_spawn or vfork leaves its parent alone",
          "[fork][process]") {
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    auto lease = desk->pool.acquire();
    REQUIRE(std::system("true") == 0);
    REQUIRE(desk.reap() == Reaped{});
    lease.give_back();
    REQUIRE(desk->pool.acquire());
    REQUIRE(members_of(name) == 1);
}

TEST_CASE("fork: Local is empty in a child", "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto desk = Arena<Desk>::create(unique_name("fork"));
    REQUIRE(desk->pool.add(1));
    lagoon::Local<int> local;
    int built = 0;
    const auto build = [&](const int& value) {
        ++built;
        return value;
    };
    {
        const auto lease = desk->pool.acquire();
        REQUIRE(local.get(lease, build) == 1);
        REQUIRE(local.get(lease, build) == 1);
    }
    REQUIRE(built == 1);
    REQUIRE(in_copy(way, [&] {
                const auto lease = desk->pool.acquire();
                (void)local.get(lease, build);
                return built == 2 ? 0 : 1;
            }) == exited(0));
    REQUIRE(built == 1);
}
