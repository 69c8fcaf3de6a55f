// plugin_test.cpp: libraries that are loaded at run time and use the program's arenas: built by the
// other compiler, unloaded while threads that used them live, or with a lagoon of their own.
#include <lagoon/lagoon.hpp>

#include <dlfcn.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/arenas.hpp"
#include "unit/plugin/desk.hpp"

using lagoon::Arena;
using lagoon::ArenaView;
using plugin::Desk;
using support::unique_name;

namespace {

class Plugin {
public:
    explicit Plugin(const char* file) {
        const auto path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / file;
        handle_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_ == nullptr) {
            FAIL(::dlerror());
        }
        using Get = const plugin::Functions* (*)();
        functions_ = reinterpret_cast<Get>(::dlsym(handle_, "plugin_functions"))();
    }
    Plugin(const Plugin&) = delete;
    Plugin& operator=(const Plugin&) = delete;
    ~Plugin() { unload(); }
    void unload() {
        if (handle_ != nullptr) ::dlclose(std::exchange(handle_, nullptr));
    }
    const plugin::Functions* operator->() const { return functions_; }

private:
    void* handle_ = nullptr;
    const plugin::Functions* functions_ = nullptr;
};

bool is_mapped(const char* file) {
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; std::getline(maps, line);) {
        if (line.find(file) != std::string::npos) return true;
    }
    return false;
}

std::size_t keepers() {
    std::size_t count = 0;
    for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
        std::string name;
        std::getline(std::ifstream{task.path() / "comm"}, name);
        if (name == "lagoon-keeper") ++count;
    }
    return count;
}

Arena<Desk> make_desk(const std::string& name) {
    auto desk = Arena<Desk>::create(name, {}, 5);
    desk->numbers[4].store(44);
    desk->wide.span()[5].text = "five";
    desk->phase.store(Desk::Phase::busy);
    desk->several.store({0, 1, 2, 3, 4});
    desk->part.letter.store('p');
    desk->part.words[1].store(11);
    Desk::Job job;
    job.text = "first";
    REQUIRE(desk->jobs.add(job));
    return desk;
}

constexpr const char* with_own_copy = "lagoon_unit_plugin_copy.so";
constexpr const char* by_other_compiler = "lagoon_unit_plugin_other.so";
#ifdef LAGOON_TEST_OTHER_COMPILER
constexpr bool have_other = true;
#else
constexpr bool have_other = false;
#endif

std::size_t members_of(const std::string& name) { return ArenaView::open(name).processes().size(); }

}  // namespace

TEST_CASE("plugin: one that the other compiler made sees the same struct in the same arena",
          "[plugin][process]") {
    if (!have_other) return support::skip("a plugin by the other compiler", "there is none");
    const auto name = unique_name("plugin");
    const auto desk = make_desk(name);
    const Plugin other{by_other_compiler};
#ifdef __clang__
    REQUIRE(std::string{other->compiler} == "gcc");
#else
    REQUIRE(std::string{other->compiler} == "clang");
#endif
    REQUIRE(other->use(name.c_str()) == 0);
    REQUIRE(desk->total.load() == 1);
    REQUIRE(desk->jobs.idle() == 1);
    // It works with this program's copy of the library: one member, one keeper.
    REQUIRE(other->hold(name.c_str()) == 0);
    REQUIRE(members_of(name) == 1);
    REQUIRE(keepers() == 1);
    REQUIRE(desk->jobs.leased() == 1);
    REQUIRE(other->let_go() == 0);
    REQUIRE(desk->jobs.idle() == 1);
}

TEST_CASE("plugin: its inlined fast path and the program's remember the same slots",
          "[plugin][process]") {
    if (!have_other) return support::skip("a plugin by the other compiler", "there is none");
    const auto desk = make_desk(unique_name("plugin"));
    const Plugin other{by_other_compiler};
    constexpr long rounds = 100'000;
    for (int turn = 0; turn < 3; ++turn) {
        REQUIRE(other->borrow(&desk.root(), rounds) == rounds);
        for (int i = 0; i < 1000; ++i) REQUIRE(desk->jobs.try_acquire());
    }
    REQUIRE(desk->jobs.stats().acquired == 3 * (rounds + 1000));
    REQUIRE(desk->jobs.idle() == 1);
}

TEST_CASE("plugin: it may be unloaded while threads that used it live", "[plugin][process]") {
    if (!have_other) return support::skip("a plugin by the other compiler", "there is none");
    const auto name = unique_name("plugin");
    auto desk = make_desk(name);
    std::atomic<int> used{0};
    std::atomic<bool> end{false};
    std::vector<std::thread> crew;
    {
        Plugin other{by_other_compiler};
        for (int i = 0; i < 3; ++i) {
            crew.emplace_back([&] {
                (void)other->borrow(&desk.root(), 1000);
                ++used;
                support::wait_until([&] { return end.load(); });
                for (int n = 0; n < 100; ++n) (void)desk->jobs.try_acquire();
            });
        }
        support::wait_until([&] { return used == 3; });
        other.unload();
        REQUIRE_FALSE(is_mapped(by_other_compiler));
    }
    end = true;
    for (auto& thread : crew) thread.join();
    REQUIRE(desk->jobs.idle() == 1);
    desk.close();
    REQUIRE_FALSE(support::exists(support::file_of(name)));
}

TEST_CASE("plugin: one with a lagoon of its own is a second member, who excludes the first",
          "[plugin][process]") {
    const auto name = unique_name("plugin");
    auto desk = make_desk(name);
    Plugin copy{with_own_copy};
    REQUIRE(copy->use(name.c_str()) == 0);
    REQUIRE(members_of(name) == 1);
    REQUIRE(copy->hold(name.c_str()) == 0);
    REQUIRE(members_of(name) == 2);
    REQUIRE(keepers() == 2);
    REQUIRE(desk->jobs.try_acquire().status() == lagoon::Outcome::would_block);
    REQUIRE_FALSE(desk->lock.try_lock());
    // Neither takes the other for dead, or what it holds for its own.
    REQUIRE(desk.reap() == lagoon::Reaped{});
    REQUIRE(copy->reap(name.c_str()) == 0);
    REQUIRE(desk->jobs.leased() == 1);
    // Its thread and its mappings outlive dlclose.
    copy.unload();
    REQUIRE(is_mapped(with_own_copy));
    REQUIRE(members_of(name) == 2);
    REQUIRE(desk.reap() == lagoon::Reaped{});
    Plugin again{with_own_copy};
    REQUIRE(again->let_go() == 0);
    REQUIRE(members_of(name) == 1);
    REQUIRE(keepers() == 1);
    REQUIRE(desk->jobs.try_acquire());
    desk.close();
    REQUIRE(keepers() == 0);
}

TEST_CASE("plugin: threads that used a plugin's copy of lagoon may end after it is unloaded",
          "[plugin][process]") {
    const auto name = unique_name("plugin");
    auto desk = make_desk(name);
    std::atomic<bool> used{false};
    std::atomic<bool> end{false};
    int code = -1;
    Plugin copy{with_own_copy};
    std::thread user{[&] {
        code = copy->use(name.c_str());
        used = true;
        support::wait_until([&] { return end.load(); });
    }};
    support::wait_until([&] { return used.load(); });
    copy.unload();
    end = true;
    user.join();
    REQUIRE(code == 0);
    REQUIRE(members_of(name) == 1);
}
