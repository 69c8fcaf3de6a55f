// arena_points_test.cpp: killed at the instructions of making, opening, leaving and removing an
// arena, and of starting a worker.
//
// Until it has its name nobody can see an arena's file: before that the points where something
// changes are the system calls.
#include <fcntl.h>
#include <sys/mman.h>

#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "kill/pairs.hpp"
#include "kill/scene.hpp"

using lagoon::Arena;
using lagoon::Lifetime;
using rig::Actor;
using rig::Stage;
using scene::Desk;
using scene::leave_stale;
using scene::require_reusable;
using scene::require_unclaimed;
using scene::require_whole;
using scene::Resident;
using support::exists;
using support::file_of;

namespace {

/// The file behind a name, where it lies in this process; what is mapped last stays.
class NamedBytes {
public:
    explicit NamedBytes(std::string path) : path_{std::move(path)} {}
    NamedBytes(const NamedBytes&) = delete;
    NamedBytes& operator=(const NamedBytes&) = delete;
    ~NamedBytes() { forget(); }

    std::pair<const std::byte*, std::size_t> look() {
        struct stat found {};
        if (::stat(path_.c_str(), &found) != 0 || found.st_ino == inode_) return {at_, size_};
        forget();
        const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
        const auto size = static_cast<std::size_t>(found.st_size);
        void* at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
        ::close(fd);
        if (at == MAP_FAILED) return {nullptr, 0};
        inode_ = found.st_ino;
        at_ = static_cast<std::byte*>(at);
        size_ = size;
        return {at_, size_};
    }

private:
    void forget() {
        if (at_ != nullptr) ::munmap(at_, size_);
        at_ = nullptr;
        size_ = 0;
        inode_ = 0;
    }
    std::string path_;
    ino_t inode_ = 0;
    std::byte* at_ = nullptr;
    std::size_t size_ = 0;
};

/// What a process does to a name.
struct Deed {
    const char* name;
    std::function<std::optional<Arena<Desk>>(const std::string& name)> prepare;
    std::function<void(std::optional<Arena<Desk>>& desk, const std::string& name)> run;
    std::function<void(const std::string& name)> set;
    std::function<void(const std::string& name, bool over)> check;
    bool resident = false;  // beside a living member
};

std::optional<Arena<Desk>> nothing(const std::string&) { return std::nullopt; }
std::optional<Arena<Desk>> make(const std::string& name) {
    return Arena<Desk>::create(name, scene::small(Lifetime::scoped));
}
void no_scene(const std::string&) {}

void require_scoped(const std::string& name, bool) { require_reusable(name, Lifetime::scoped); }
void require_beside_resident(const std::string& name, bool) {
    const auto desk = Arena<Desk>::open(name);
    require_whole(desk);
    require_unclaimed(desk, 1);
}

void sweep(const Deed& deed) {
    const auto name = support::unique_name("deed");
    std::optional<Resident> resident;
    if (deed.resident) resident.emplace(name);
    NamedBytes bytes{file_of(name)};
    rig::Scene scene;
    scene.name = deed.name;
    scene.start = [&](bool) {
        deed.set(name);
        return std::make_unique<rig::Stepper>(
            [&] { return deed.prepare(name); },
            [&](std::optional<Arena<Desk>>& desk) { deed.run(desk, name); },
            rig::Grain::instruction);
    };
    scene.bytes = [&] { return bytes.look(); };
    scene.check = [&](rig::Stepper& process, bool over) {
        if (over) {
            REQUIRE(process.run_on() == rig::Stop::done);
            REQUIRE(process.finish() == support::exited(0));
        }
        deed.check(name, over);
    };
    rig::sweep(scene, 25);
    resident.reset();
    (void)lagoon::remove(name);
}

/// How the first one of a pair ended.
struct Ended {
    std::atomic<int> error;  // an Errc
    std::atomic<std::uint64_t> inode;
};

/// Two processes at one name; each tells how it ended if it comes so far.
void sweep_pair(const Deed& first, const Deed& second) {
    const auto name = support::unique_name("pair");
    NamedBytes bytes{file_of(name)};
    const support::Shared<Ended> ended;
    const auto process_of = [&](const Deed& deed, bool tells) {
        return std::make_unique<rig::Stepper>([&] { return deed.prepare(name); },
                                              [&, tells](std::optional<Arena<Desk>>& desk) {
                                                  const auto code = support::code_of([&] {
                                                      deed.run(desk, name);
                                                      return 0;
                                                  });
                                                  if (!tells) return;
                                                  ended->error = static_cast<int>(code);
                                                  if (desk)
                                                      ended->inode = desk->attached().file.inode;
                                              },
                                              rig::Grain::instruction);
    };
    rig::PairScene scene;
    scene.name = std::string{first.name} + " x " + second.name;
    scene.set = [&] { first.set(name); };
    scene.first = [&] { return process_of(first, true); };
    scene.second = [&] { return process_of(second, false); };
    scene.bytes = [&] { return bytes.look(); };
    scene.let_end = [&](rig::Stepper& process) {
        REQUIRE(process.run_on() == rig::Stop::done);
        const auto error = static_cast<lagoon::Errc>(ended->error.load());
        const bool ordinary = error == lagoon::Errc{} || error == lagoon::Errc::name_taken ||
                              error == lagoon::Errc::no_such_arena;
        REQUIRE(ordinary);
        if (ended->inode == 0) return;
        // It is attached, so nobody who has died since can have taken its name away but by remove.
        struct stat found {};
        const bool there = ::stat(file_of(name).c_str(), &found) == 0;
        REQUIRE((!there || found.st_ino == ended->inode));
        REQUIRE((there || std::string_view{second.name} == "remove"));
    };
    scene.look = [&] {
        first.check(name, false);
        ended->inode = 0;
        ended->error = 0;
    };
    // These are long, and most of their system calls concern the process alone.
    scene.most_points = 6;
    scene.record_every = 3;
    rig::PairSweep{scene}.run();
    (void)lagoon::remove(name);
}

}  // namespace

TEST_CASE("kill: makers, openers and removers of one name halted and killed at each other's points",
          "[kill][process]") {
    const auto persistent = [](const std::string& name) {
        if (exists(file_of(name))) return;
        Arena<Desk>::create(name, scene::small(Lifetime::persistent)).close();
    };
    const auto require_persistent = [](const std::string& name, bool) {
        require_reusable(name, Lifetime::persistent);
    };
    const Deed create{"create", nothing, [](auto& desk, const auto& name) { desk = make(name); },
                      no_scene, require_scoped};
    const Deed create_over{"create over a dead one's name", nothing, create.run, leave_stale,
                           require_scoped};
    const Deed open{"open", nothing,
                    [](auto& desk, const auto& name) { desk = Arena<Desk>::open(name); },
                    persistent, require_persistent};
    const Deed remove{"remove", nothing, [](auto&, const auto& name) { lagoon::remove(name); },
                      persistent, require_persistent};
    sweep_pair(create, create);
    if (rig::in_full()) sweep_pair(create_over, create_over);
    sweep_pair(remove, open);
    sweep_pair(open, remove);
}

TEST_CASE("kill: at the instructions of create", "[kill][process]") {
    sweep({"create and leave", nothing, [](auto&, const auto& name) { make(name)->close(); },
           no_scene, require_scoped});
    sweep({"create a persistent arena", nothing,
           [](auto&, const auto& name) {
               Arena<Desk>::create(name, scene::small(Lifetime::persistent));
           },
           no_scene, [](const auto& name, bool) { require_reusable(name, Lifetime::persistent); }});
    sweep({"create over a dead one's name", nothing,
           [](auto& desk, const auto& name) { desk = make(name); }, leave_stale, require_scoped});
    sweep({"open_or_create over a dead one's name", nothing,
           [](auto& desk, const auto& name) {
               desk = Arena<Desk>::open_or_create(name, scene::small(Lifetime::scoped));
           },
           leave_stale, require_scoped});
}

TEST_CASE("kill: at the instructions of open", "[kill][process]") {
    sweep({"open, use and close beside a living member", nothing,
           [](auto&, const auto& name) {
               auto desk = Arena<Desk>::open(name);
               desk->pool.acquire().give_back();
               desk.close();
           },
           no_scene, require_beside_resident, true});
    sweep({"open of a view beside a living member", nothing,
           [](std::optional<Arena<Desk>>&, const std::string& name) {
               const auto view = lagoon::ArenaView::open(name, {.writable = true});
               view.find<lagoon::Counter>("total").add(1);
           },
           no_scene, require_beside_resident, true});
}

TEST_CASE("kill: at the instructions of the last member's leaving", "[kill][process]") {
    sweep({"the last one's close", make, [](auto& desk, const auto&) { desk->close(); }, no_scene,
           [](const auto& name, bool over) {
               if (over) REQUIRE_FALSE(exists(file_of(name)));
               require_reusable(name, Lifetime::scoped);
           }});
    sweep({"shut_down", make, [](auto& desk, const auto&) { desk->shut_down(); }, no_scene,
           [](const auto& name, bool over) {
               if (over) REQUIRE_FALSE(exists(file_of(name)));
               require_reusable(name, Lifetime::scoped);
           }});
}

TEST_CASE("kill: at the instructions of remove, reap by name and list", "[kill][process]") {
    sweep({"remove", nothing, [](auto&, const auto& name) { lagoon::remove(name); },
           [](const auto& name) {
               if (!exists(file_of(name))) {
                   Arena<Desk>::create(name, scene::small(Lifetime::persistent)).close();
               }
           },
           [](const auto& name, bool over) {
               if (over) REQUIRE_FALSE(exists(file_of(name)));
               if (!exists(file_of(name))) return;
               const auto desk = Arena<Desk>::open(name);
               require_whole(desk);
               require_unclaimed(desk, 0);
           }});
    sweep({"reap of a name that dead processes have left", nothing,
           [](auto&, const auto& name) {
               (void)support::code_of([&] { return lagoon::reap(name); });
           },
           leave_stale, require_scoped});
    sweep({"reap by name beside a living member", nothing,
           [](auto&, const auto& name) { (void)lagoon::reap(name); },
           [](const auto& name) {
               REQUIRE(support::in_child([&] {
                           const auto desk = Arena<Desk>::open(name);
                           const auto lease = desk->pool.acquire();
                           ::_exit(lease && desk->lock.try_lock() ? 0 : 1);
                           return 1;
                       }) == support::exited(0));
           },
           require_beside_resident, true});
    sweep({"list_arenas, which removes a dead one's name", nothing,
           [](auto&, const auto&) { (void)lagoon::list_arenas(); }, leave_stale, require_scoped});
}
