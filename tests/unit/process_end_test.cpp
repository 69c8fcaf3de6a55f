// process_end_test.cpp: how workers end, what happens when a parent dies, and which programs and
// functions can be started. The other half of a test is often a worker itself.
#include <lagoon/process.hpp>

#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include "process/support.hpp"

using namespace process_test;

struct Odd {
    lagoon::Counter one{"one"};
};
int odd_task(Odd&) { return 0; }
int known_everywhere(Desk& desk, int number) {
    desk.numbers[1].store(number);
    return number;
}

namespace {

int throws_error(Desk&, int kind) {
    if (kind == 0) throw std::runtime_error{"what it says"};
    if (kind == 1) throw 5;
    throw Error{Errc::closed, "an error of the library's own"};
}
void aborts(Desk&) { std::abort(); }

void ignores_its_parent(Desk& desk) {
    desk.numbers[2].store(::getpid());
    desk.begun.add(1);
    for (std::atomic<unsigned> n{0};; ++n) {
    }
}
int heeds_its_parent(Desk& desk) {
    desk.numbers[2].store(::getpid());
    desk.begun.add(1);
    const auto stop = lagoon::worker_stop_token();
    while (!stop.stop_requested()) std::this_thread::sleep_for(1ms);
    return 33;
}
void is_stuck_in_its_callback(Desk& desk) {
    const std::stop_callback stuck{lagoon::worker_stop_token(), [] {
                                       for (;;) ::pause();
                                   }};
    ignores_its_parent(desk);
}
/// Ends by itself long after a grace of nothing.
int takes_its_time(Desk& desk) {
    const int code = heeds_its_parent(desk);
    std::this_thread::sleep_for(50ms);
    return code;
}
template <auto Grandchild>
void dies_before_its_worker(const Arena<Desk>& desk, std::int64_t grace_ms) {
    auto child = Process::spawn<Grandchild>(desk, SpawnOptions{.grace = grace_ms * 1ms});
    child.join();
}

int status_of_ignored(const Arena<Desk>& desk) {
    std::signal(SIGCHLD, SIG_IGN);
    auto child = Process::spawn<answer>(desk);
    return child.join().how == Ended::unknown ? 0 : 1;
}
int status_of_stolen(const Arena<Desk>& desk) {
    auto child = Process::spawn<answer>(desk);
    while (::waitpid(-1, nullptr, 0) != child.pid()) {
    }
    return child.join().how == Ended::unknown && child.join_for(0s) ? 0 : 1;
}
/// As in a sandbox that knows no pidfd_open.
int without_pidfd(const Arena<Desk>& desk) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{.len = 4, .filter = code};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 1;
    if (::syscall(SYS_pidfd_open, ::getpid(), 0) >= 0) return 2;
    auto sleeper = Process::spawn<stay>(desk, "x");
    if (sleeper.join_for(20ms)) return 3;
    if (!sleeper.kill() || sleeper.join() != ExitStatus{Ended::signaled, 0, SIGKILL}) return 4;
    return Process::spawn<answer>(desk).join() == ExitStatus{Ended::exited, 42, 0} ? 0 : 5;
}

}  // namespace

/// In a copy of this program, which it deletes. External, so that the copy knows it.
int spawns_from_a_deleted_file(const Arena<Desk>& desk, bool launcher) {
    const auto program = std::filesystem::read_symlink("/proc/self/exe");
    if (program.filename() != "lagoon-copy" || !std::filesystem::remove(program)) return 1;
    SpawnOptions options;
    if (launcher) options.launcher = {"env"};
    return Process::spawn<answer>(desk, options).join().code;
}
/// One whose worker must not be mistaken for it under a tool that runs programs.
int spawns_one_more(const Arena<Desk>& desk) { return Process::spawn<answer>(desk).join().code; }

TEST_CASE("process: a killed worker's signal is told, and it cannot be killed twice", "[child]") {
    const auto desk = make_desk();
    auto worker = Process::spawn<stay>(desk, "");
    CHECK(worker.kill());
    CHECK(worker.join() == ExitStatus{Ended::signaled, 0, SIGKILL});
    CHECK_FALSE(worker.kill());
    auto other = Process::spawn<stay>(desk, "");
    CHECK(code_of([&] { other.kill(12345); }) == Errc::invalid_argument);
    CHECK(other.kill(SIGTERM));
    CHECK(other.join() == ExitStatus{Ended::signaled, 0, SIGTERM});
    CHECK(Process::spawn<aborts>(desk).join().signal == SIGABRT);
    CHECK(to_string(ExitStatus{Ended::signaled, 0, SIGKILL}) == "killed by signal 9 (Killed)");
    CHECK(to_string(ExitStatus{Ended::exited, 3, 0}) == "exited 3");
}

TEST_CASE("process: two threads may wait for one worker", "[child]") {
    const auto desk = make_desk();
    auto worker = Process::spawn<stay>(desk, "");
    std::atomic<int> ended{0};
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&] { ended += worker.join().success() ? 1 : 0; });
        }
        wait_until_begun(desk);
        desk->go_on.add(1);
    }
    CHECK(ended == 4);
}

TEST_CASE("process: an exception in the function is one line and exit code 1", "[child]") {
    const auto desk = make_desk();
    const auto line_of = [&](int kind) {
        const Scratch file{"stderr"};
        const SpawnOptions options{.launcher = {"sh", "-c", "exec \"$0\" 2>" + file.path()}};
        auto worker = Process::spawn<throws_error>(desk, options, kind);
        const int pid = worker.pid();
        CHECK(worker.join() == ExitStatus{Ended::exited, 1, 0});
        const std::string text = read_file(file.path());
        CHECK(text.starts_with("lagoon worker "));
        CHECK(text.find("throws_error") != std::string::npos);
        const std::string process = " (pid " + std::to_string(pid) + "): ";
        REQUIRE(text.find(process) != std::string::npos);
        return text.substr(text.find(process) + process.size());
    };
    CHECK(line_of(0) == "std::runtime_error: what it says\n");
    CHECK(line_of(1) == "int\n");
    CHECK(line_of(2) == "lagoon::Error: an error of the library's own\n");
}

TEST_CASE("process: a worker whose arena is gone exits 65 and creates none", "[child]") {
    const auto desk = make_desk();
    const std::string name{desk.name()};
    REQUIRE(lagoon::remove(name));
    CHECK(Process::spawn<answer>(desk).join() == ExitStatus{Ended::exited, 65, 0});
    CHECK(code_of([&] { Arena<Desk>::open(name); }) == Errc::no_such_arena);
    // Another arena of the name is not the one that was meant, whatever its struct.
    {
        const auto other = Arena<Desk>::create(name);
        CHECK(Process::spawn<answer>(desk).join() == ExitStatus{Ended::exited, 65, 0});
    }
    const auto odd = Arena<Odd>::create(name);
    CHECK(Process::spawn<answer>(desk).join() == ExitStatus{Ended::exited, 65, 0});
}

TEST_CASE("process: when the parent is killed its worker ends, busy or not", "[child]") {
    const auto desk = make_desk();
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    const auto end_of_orphan = [&](Process middle) {
        wait_until_begun(desk);
        const int orphan = desk->numbers[2].load();
        CHECK(middle.kill());
        CHECK(middle.join().how == Ended::signaled);
        int status = 0;
        CHECK(::waitpid(orphan, &status, 0) == orphan);
        desk->begun.exchange(0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    };
    CHECK(end_of_orphan(Process::spawn<dies_before_its_worker<heeds_its_parent>>(desk, 60'000)) ==
          33);
    CHECK(end_of_orphan(Process::spawn<dies_before_its_worker<ignores_its_parent>>(desk, 50)) ==
          65);
    CHECK(end_of_orphan(
              Process::spawn<dies_before_its_worker<is_stuck_in_its_callback>>(desk, 50)) == 65);
    CHECK(end_of_orphan(Process::spawn<dies_before_its_worker<takes_its_time>>(
              desk, std::chrono::milliseconds::max().count())) == 33);
    ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

TEST_CASE("process: without a parent's death nobody asks this process to stop") {
    CHECK_FALSE(lagoon::worker_stop_token().stop_requested());
}

TEST_CASE("process: an end that somebody else collected is unknown, not waited for", "[child]") {
    const auto desk = make_desk();
    CHECK(Process::spawn<status_of_ignored>(desk).join().code == 0);
    CHECK(Process::spawn<status_of_stolen>(desk).join().code == 0);
}

TEST_CASE("process: where pidfd_open is refused, waiting and killing work all the same",
          "[child]") {
    const auto desk = make_desk();
    CHECK(Process::spawn<without_pidfd>(desk).join().code == 0);
}

TEST_CASE("process: a program without run_if_worker is started exactly once", "[child]") {
    const auto desk = make_desk();
    const Scratch runs{"runs"};
    const std::string& log = runs.path();
    SpawnOptions options;
    options.program = beside_us("lagoon_unit_forgetful");
    options.environment = {{"FORGETFUL_LOG", log}};
    auto worker = Process::spawn<known_everywhere>(desk, options, 1);
    try {
        worker.join();
        FAIL("join did not throw");
    } catch (const Error& error) {
        CHECK(error.errc() == Errc::worker_never_attached);
        CHECK(std::string{error.what()}.find("run_if_worker") != std::string::npos);
    }
    CHECK(worker.exit_status() == ExitStatus{Ended::exited, 64, 0});
    CHECK(read_file(log) == "run\n");
    // By hand: the program learns it before anything is started.
    const std::string command = "FORGETFUL_LOG=" + log +
                                " FORGETFUL_ARENA=" + unique_name("forgetful") + ' ' +
                                options.program + " 2>/dev/null";
    const int status = std::system(command.c_str());
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 10);
    CHECK(read_file(log) == "run\nrun\n");
}

TEST_CASE("process: a program that is no worker at all never attached", "[process]") {
    const auto desk = make_desk();
    const auto join = [&](const char* program) {
        return code_of([&] {
            Process::spawn<known_everywhere>(desk, SpawnOptions{.program = program}, 1).join();
        });
    };
    CHECK(join("true") == Errc::worker_never_attached);
    CHECK(join("false") == Errc::worker_never_attached);
    CHECK(join("/nowhere/to/be/found") == Errc::spawn_failed);
}

TEST_CASE("process: another program runs its function of the name, and says what it lacks",
          "[child]") {
    const auto desk = make_desk();
    const SpawnOptions stranger{.program = beside_us("lagoon_unit_stranger")};
    CHECK(Process::spawn<known_everywhere>(desk, stranger, 5).join().code == 6);
    CHECK(desk->numbers[1].load() == 5);
    auto unknown = Process::spawn<spawns_one_more>(desk, stranger);
    CHECK(code_of([&] { unknown.join(); }) == Errc::unknown_function);
    CHECK(unknown.exit_status()->code == 64);
    const auto odd = Arena<Odd>::create(unique_name("odd"));
    CHECK(code_of([&] { Process::spawn<odd_task>(odd, stranger).join(); }) ==
          Errc::layout_mismatch);
}

TEST_CASE("process: a worker can be started from a file that was deleted", "[process]") {
    const auto desk = make_desk();
    for (const bool launcher : {false, true}) {
        const Scratch directory{"copies"};
        std::filesystem::create_directory(directory.path());
        const std::string copy = directory.path() + "/lagoon-copy";
        std::filesystem::copy_file("/proc/self/exe", copy);
        const SpawnOptions options{.program = copy};
        CHECK(Process::spawn<spawns_from_a_deleted_file>(desk, options, launcher).join().code ==
              42);
        CHECK_FALSE(std::filesystem::exists(copy));
    }
}

TEST_CASE("process: a launcher may stand before the program", "[process]") {
    const auto desk = make_desk();
    CHECK(Process::spawn<answer>(desk, SpawnOptions{.launcher = {"env"}}).join().code == 42);
    CHECK(Process::spawn<answer>(desk, SpawnOptions{.launcher = {"nice", "-n", "1"}}).join().code ==
          42);
    CHECK(code_of([&] {
              Process::spawn<answer>(desk, SpawnOptions{.launcher = {"no-such-launcher"}});
          }) == Errc::spawn_failed);
}

TEST_CASE("process: valgrind may stand before the program, and its workers start workers",
          "[valgrind][child]") {
    // Debian's valgrind cannot read what clang 14 writes for debuggers.
    const std::string try_it = "valgrind -q --tool=none " + beside_us("").string() +
                               program_invocation_short_name + " --help >/dev/null 2>&1";
    if (std::system(try_it.c_str()) != 0) {
        WARN("valgrind is not installed, or cannot run this program");
        return;
    }
    const auto desk = make_desk();
    const SpawnOptions options{.launcher = {"valgrind", "-q", "--tool=none"}};
    CHECK(Process::spawn<answer>(desk, options).join().code == 42);
    CHECK(Process::spawn<spawns_one_more>(desk, options).join().code == 42);
}

TEST_CASE("process: a function of a plugin runs in a worker that loads the plugin", "[child]") {
    const auto desk = make_desk();
    void* plugin = ::dlopen(beside_us("lagoon_unit_plugin.so").c_str(), RTLD_NOW);
    INFO((plugin == nullptr ? ::dlerror() : ""));
    REQUIRE(plugin != nullptr);
    auto* start = reinterpret_cast<StartInPlugin*>(::dlsym(plugin, "start_in_plugin"));
    REQUIRE(start != nullptr);
    Process worker;
    start(&desk, 23, &worker);
    CHECK(worker.join().code == 23);
    CHECK(desk->numbers[0].load() == 23);
    ::dlclose(plugin);
    CHECK(Process::spawn<answer>(desk).join().code == 42);
}
