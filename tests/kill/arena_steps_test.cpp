// arena_steps_test.cpp: two processes stepped against each other, system call by system call, where
// one of them takes a name away; and a fork by another thread at every system call.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>
#include <functional>
#include <optional>
#include <runtime/members.hpp>
#include <string>

#include "kill/rig.hpp"
#include "kill/scene.hpp"

using lagoon::Arena;
using lagoon::Errc;
using lagoon::Lifetime;
using rig::Stepper;
using rig::Stop;
using scene::Desk;
using support::code_of;
using support::exists;
using support::file_of;
using support::Flag;
using support::Shared;
using support::unique_name;

namespace {

using Handle = std::optional<Arena<Desk>>;

/// What one of the two does: `prepare` before the other one starts, `act` step by step.
struct Part {
    std::function<Handle(const std::string& name)> prepare;
    std::function<void(Handle& desk, const std::string& name)> act;
};

/// How it ended: the file that it is attached to, or none, and the error.
struct Seen {
    std::atomic<std::uint64_t> inode;
    std::atomic<int> error;
};

Handle unattached(const std::string&) { return std::nullopt; }

Part leaving() {
    return {[](const std::string& name) {
                return Handle{Arena<Desk>::create(name, scene::small(Lifetime::scoped))};
            },
            [](Handle& desk, const std::string&) { desk.reset(); }};
}
Part opening() {
    return {unattached,
            [](Handle& desk, const std::string& name) { desk = Arena<Desk>::open(name); }};
}
Part making() {
    return {unattached, [](Handle& desk, const std::string& name) {
                desk = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
            }};
}
Part opening_or_making() {
    return {unattached, [](Handle& desk, const std::string& name) {
                desk = Arena<Desk>::open_or_create(name, scene::small(Lifetime::scoped));
            }};
}

void leave_stale(const std::string& name) {
    REQUIRE(support::in_child([&] {
                const auto desk = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
                ::_exit(0);
                return 1;
            }) == support::exited(0));
}

std::uint64_t inode_at(const std::string& path) {
    struct stat found {};
    return ::lstat(path.c_str(), &found) == 0 ? found.st_ino : 0;
}

/// `first` goes to a stop, `second` to its end, `first` to its end; from every stop of `first`.
/// Afterwards whoever is attached is attached to what the name leads to, and without anybody
/// attached there is no name. Returns how many were attached in the end, at least and at most.
std::pair<int, int> step_against(const char* what, const Part& first, const Part& second,
                                 bool stale) {
    const auto name = unique_name("steps");
    std::uint64_t schedules = 0;
    std::pair<int, int> attached{2, 0};
    for (bool over = false; !over;) {
        ++schedules;
        if (stale) leave_stale(name);
        const Flag leave;
        Shared<Seen> seen[2];
        const auto run = [&](const Part& part, const Shared<Seen>& into) {
            return [&](Handle& desk) {
                into->error = static_cast<int>(code_of([&] {
                    part.act(desk, name);
                    return 0;
                }));
                if (desk) into->inode = desk->attached().file.inode;
                ::raise(SIGSTOP);  // attached or not, until both are over
                leave.wait();
                desk.reset();
            };
        };
        Stepper a{[&] { return first.prepare(name); }, run(first, seen[0])};
        Stepper b{[&] { return second.prepare(name); }, run(second, seen[1])};
        a.step_to(schedules);
        // One that waits for the other's gate lets the other go first.
        b.run();
        a.run();
        b.run();
        a.run();
        INFO(what << ", the second one runs at stop " << schedules << " of the first one");
        REQUIRE(a.state() == Stop::done);
        REQUIRE(b.state() == Stop::done);
        over = a.stops() < schedules;
        const auto led_to = inode_at(file_of(name));
        int count = 0;
        for (const auto& one : seen) {
            INFO("errors " << seen[0]->error << ", " << seen[1]->error);
            const bool ordinary = one->error == 0 ||
                                  one->error == static_cast<int>(Errc::no_such_arena) ||
                                  one->error == static_cast<int>(Errc::name_taken);
            REQUIRE(ordinary);
            if (one->inode == 0) continue;
            ++count;
            REQUIRE(one->inode == led_to);
        }
        REQUIRE((led_to != 0) == (count > 0));
        attached = {std::min(attached.first, count), std::max(attached.second, count)};
        leave.raise();
        REQUIRE(a.finish() == support::exited(0));
        REQUIRE(b.finish() == support::exited(0));
        REQUIRE_FALSE(exists(file_of(name)));
    }
    std::printf("schedules: %4llu  %s\n", static_cast<unsigned long long>(schedules), what);
    REQUIRE(schedules > 10);
    return attached;
}

}  // namespace

TEST_CASE("kill: the last one's leaving stepped against an opener", "[kill][process]") {
    const std::pair<int, int> none_or_one{0, 1};
    REQUIRE(step_against("leave, open", leaving(), opening(), false) == none_or_one);
    REQUIRE(step_against("leave, open_or_create", leaving(), opening_or_making(), false).first ==
            1);
}

TEST_CASE("kill: an opener stepped against the last one's leaving", "[kill][process]") {
    // The one that leaves has to be there before the opener's first step.
    const auto name = unique_name("steps");
    std::uint64_t opened = 0;
    std::uint64_t refused = 0;
    for (bool over = false; !over;) {
        Shared<Seen> seen;
        const Flag leave;
        Stepper leaver{[&] { return leaving().prepare(name); },
                       [&](Handle& desk) { desk.reset(); }};
        Stepper opener{[] { return Handle{}; },
                       [&](Handle& desk) {
                           seen->error = static_cast<int>(code_of([&] {
                               desk = Arena<Desk>::open(name);
                               return 0;
                           }));
                           if (desk) seen->inode = desk->attached().file.inode;
                           ::raise(SIGSTOP);
                           leave.wait();
                           desk.reset();
                       }};
        const auto stop = opened + refused + 1;
        opener.step_to(stop);
        leaver.run();
        opener.run();
        leaver.run();
        opener.run();
        INFO("the other one leaves at stop " << stop);
        REQUIRE(opener.state() == Stop::done);
        REQUIRE(leaver.state() == Stop::done);
        over = opener.stops() < stop;
        REQUIRE(seen->inode == inode_at(file_of(name)));
        if (seen->inode != 0) {
            ++opened;
        } else {
            REQUIRE(seen->error == static_cast<int>(Errc::no_such_arena));
            ++refused;
        }
        leave.raise();
        REQUIRE(opener.finish() == support::exited(0));
        REQUIRE(leaver.finish() == support::exited(0));
        REQUIRE_FALSE(exists(file_of(name)));
    }
    std::printf("schedules: %4llu  open, leave\n",
                static_cast<unsigned long long>(opened + refused));
    REQUIRE(opened > 0);
    REQUIRE(refused > 0);
}

TEST_CASE("kill: an opener stepped against one who removes a living arena and makes another",
          "[kill][process]") {
    const auto name = unique_name("steps");
    std::uint64_t old_ones = 0;
    std::uint64_t new_ones = 0;
    std::uint64_t stop = 0;
    for (bool over = false; !over;) {
        ++stop;
        Shared<Seen> seen;
        Shared<Seen> made;
        const Flag leave;
        const auto tell = [&](Handle& desk, const Shared<Seen>& into) {
            if (desk) into->inode = desk->attached().file.inode;
            ::raise(SIGSTOP);
            leave.wait();
            desk.reset();
        };
        Stepper opener{[] { return Handle{}; },
                       [&](Handle& desk) {
                           seen->error = static_cast<int>(code_of([&] {
                               desk = Arena<Desk>::open(name);
                               return 0;
                           }));
                           tell(desk, seen);
                       }};
        Stepper remover{[] { return Handle{}; },
                        [&](Handle& desk) {
                            (void)lagoon::remove(name);
                            desk = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
                            tell(desk, made);
                        }};
        // Both processes are there, and have nothing of ours.
        const auto old = Arena<Desk>::create(name, scene::small(Lifetime::scoped));
        opener.step_to(stop);
        int members = 0;
        for (std::uint32_t i = 0; i < old.attached().header->max_members; ++i) {
            members += lagoon::detail::is_live(
                old.attached().member_entry(i).state.load(std::memory_order_acquire));
        }
        const bool first = remover.run() == Stop::done;  // else it waits for the opener's gate
        opener.run();
        remover.run();
        opener.run();
        INFO("removed at stop " << stop);
        REQUIRE(opener.state() == Stop::done);
        REQUIRE(remover.state() == Stop::done);
        over = opener.stops() < stop;
        REQUIRE(made->inode == inode_at(file_of(name)));
        if (seen->inode == old.attached().file.inode) {
            // Then it was a member before the name was taken away.
            REQUIRE((members == 2 || !first));
            ++old_ones;
        } else if (seen->inode != 0) {
            REQUIRE(seen->inode == made->inode);
            ++new_ones;
        } else {
            REQUIRE(seen->error == static_cast<int>(Errc::no_such_arena));
        }
        leave.raise();
        REQUIRE(opener.finish() == support::exited(0));
        REQUIRE(remover.finish() == support::exited(0));
    }
    std::printf("schedules: %4llu  open, remove and create\n",
                static_cast<unsigned long long>(stop));
    REQUIRE(old_ones > 0);
    REQUIRE(new_ones > 0);
}

TEST_CASE("kill: those who find a dead one's name stepped against each other", "[kill][process]") {
    REQUIRE(step_against("create, open over a dead one's name", making(), opening(), true).first ==
            1);
    REQUIRE(step_against("open, create over a dead one's name", opening(), making(), true).first ==
            1);
    REQUIRE(step_against("open_or_create twice over a dead one's name", opening_or_making(),
                         opening_or_making(), true) == std::pair{2, 2});
}

TEST_CASE(
    "kill: a child that another thread forks at any system call keeps neither the gate nor "
    "its parent alive",
    "[kill][process]") {
    const auto name = unique_name("forked");
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    Arena<Desk>::create(name, scene::small(Lifetime::persistent)).close();
    std::uint64_t children = 0;
    std::uint64_t stops = 0;
    for (bool over = false; !over;) {
        ++stops;
        const Flag fork_now;
        Shared<std::atomic<pid_t>> child;
        Stepper opener{[&] {
                           std::thread{[&] {
                               fork_now.wait();
                               const pid_t pid = ::fork();
                               if (pid == 0) {
                                   for (;;) ::pause();
                               }
                               *child = pid;
                           }}.detach();
                           return Handle{};
                       },
                       [&](Handle& desk) { desk = Arena<Desk>::open(name); }};
        opener.step_to(stops);
        fork_now.raise();
        // While the opener is halted inside the process's mutex the fork waits for it.
        for (int i = 0; i < 20 && *child == 0; ++i) ::usleep(100);
        over = opener.step_to(2000) == Stop::done && opener.stops() < stops;
        support::wait_until([&] { return *child != 0; });
        ++children;
        INFO("forked at stop " << stops);
        // Removing takes the gate alone; with a child on it this would be busy in ten seconds.
        const auto gate = code_of([&] { return lagoon::reap(name); });
        (void)opener.kill();
        const auto desk = Arena<Desk>::open(name);
        bool alive = false;
        for (std::uint32_t i = 0; i < desk.attached().header->max_members; ++i) {
            if (i == desk.attached().member) continue;
            alive = alive || lagoon::detail::member_life(desk.attached(), i) ==
                                 lagoon::detail::MemberLife::alive;
        }
        ::kill(*child, SIGKILL);
        ::waitpid(*child, nullptr, 0);
        REQUIRE(gate == Errc{});
        REQUIRE_FALSE(alive);
        REQUIRE(desk.reap() == lagoon::Reaped{});  // the attach has done it
    }
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
    std::printf("forks: %4llu  while another thread opens\n",
                static_cast<unsigned long long>(children));
    REQUIRE(children > 10);
    REQUIRE(lagoon::remove(name));
}
