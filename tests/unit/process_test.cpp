// process_test.cpp: functions in processes of their own: what reaches them, and the handle on them.
#include <lagoon/process.hpp>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "process/support.hpp"

using namespace process_test;

namespace {

// Functions that run in workers.

void nothing(Desk& desk) { desk.begun.add(1); }
int without_arena(int a, int b) { return a * b; }
int with_handle(const Arena<Desk>& desk, int n) {
    return desk->numbers.size() == 8 && desk.name().starts_with("desk-") ? n : 0;
}
int never_throws(Desk&) noexcept { return 7; }
template <class T>
int of_template(Desk&, T value) {
    return static_cast<int>(value) + static_cast<int>(sizeof(T));
}
struct Holder {
    static int member(const Desk&, int n) { return n; }
};
struct Note {
    int number = 0;
    char letter = 0;
};
int many(Desk&, const std::string& text, std::vector<int> numbers, const Note& note,
         std::optional<double> maybe, std::map<std::string, int> map, std::string_view view,
         bool flag) {
    return text == "text" && numbers == std::vector{1, 2, 3} && note.number == 5 &&
                   note.letter == 'n' && maybe == 2.5 && map.at("k") == 9 && view == "view" && flag
               ? 0
               : 3;
}
int length_of(Desk&, const std::string& text) { return static_cast<int>(text.size() % 251); }

int leaked_descriptors(Desk&) {
    int leaked = 0;
    for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
        std::error_code gone;
        const auto leads_to = std::filesystem::read_symlink(entry.path(), gone).string();
        if (leads_to.find("lagoon-test-leak") != std::string::npos) ++leaked;
    }
    return leaked;
}
int signal_state(Desk&) {
    int wrong = 0;
    sigset_t mask;
    sigprocmask(SIG_SETMASK, nullptr, &mask);
    // A sanitizer's own handlers are not ours to count.
    for (int signal : {SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGCHLD}) {
        struct sigaction found {};
        if (sigaction(signal, nullptr, &found) == 0 && found.sa_handler != SIG_DFL) wrong |= 2;
    }
    for (int signal = 1; signal < SIGRTMAX; ++signal) {
        if (sigismember(&mask, signal) == 1) wrong |= 1;
    }
    return wrong;
}
int environment_state(Desk&, const std::string&) {
    for (char** each = environ; *each != nullptr; ++each) {
        if (std::string_view{*each}.starts_with("LAGOON_WORKER")) return 1;
    }
    if (read_file("/proc/self/environ").find("LAGOON_WORKER=") != std::string::npos) return 2;
    const char* added = std::getenv("LAGOON_TEST_ADDED");
    const char* replaced = std::getenv("LAGOON_TEST_REPLACED");
    if (added == nullptr || std::string{added} != "yes") return 3;
    if (replaced == nullptr || std::string{replaced} != "new") return 4;
    return 0;
}

}  // namespace

TEST_CASE("process: a function runs in a process of its own, with the struct filled in",
          "[child]") {
    const auto desk = make_desk();
    auto worker = Process::spawn<answer>(desk);
    CHECK(worker.pid() != ::getpid());
    CHECK(worker.join() == ExitStatus{Ended::exited, 42, 0});
    CHECK(worker.exit_status() == ExitStatus{Ended::exited, 42, 0});
    CHECK_FALSE(worker.running());
    CHECK(worker.join().code == 42);
    CHECK(Process::spawn<nothing>(desk).join().success());
    CHECK(desk->begun.load() == 1);
}

TEST_CASE("process: a worker finds an arena by the directory that was relative to another place",
          "[child]") {
    const Scratch scratch{"relative"};
    std::filesystem::create_directories(scratch.path() + "/arenas");
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(scratch.path());
    const auto desk = Arena<Desk>::create(unique_name("desk"), {.directory = "arenas"});
    std::filesystem::current_path(before);
    CHECK(Process::spawn<answer>(desk).join() == ExitStatus{Ended::exited, 42, 0});
}

TEST_CASE("process: every form of function works", "[child]") {
    const auto desk = make_desk();
    CHECK(Process::spawn<without_arena>(desk, 6, 7).join().code == 42);
    CHECK(Process::spawn<with_handle>(desk, 9).join().code == 9);
    CHECK(Process::spawn<never_throws>(desk).join().code == 7);
    CHECK(Process::spawn<&of_template<short>>(desk, 10).join().code == 12);
    CHECK(Process::spawn<&of_template<long>>(desk, 10).join().code == 18);
    CHECK(Process::spawn<&Holder::member>(desk, 5).join().code == 5);
    CHECK(Process::spawn<[](Desk&, int n) { return n + 1; }>(desk, 5).join().code == 6);
    CHECK(Process::spawn<[](Desk&, int n) { return n + 2; }>(desk, 5).join().code == 7);
    constexpr auto named = [](Desk& on_desk) { on_desk.begun.add(1); };
    CHECK(Process::spawn<named>(desk).join().code == 0);
    CHECK(desk->begun.load() == 1);
}

TEST_CASE("process: functions of one name in two files are told apart", "[child]") {
    const auto desk = make_desk();
    CHECK(spawn_static_twin_a(desk).join().code == 11);
    CHECK(spawn_static_twin_b(desk).join().code == 12);
    CHECK(spawn_hidden_twin_a(desk).join().code == 21);
    CHECK(spawn_hidden_twin_b(desk).join().code == 22);
}

TEST_CASE("process: arguments are converted to the parameters' types", "[child]") {
    const auto desk = make_desk();
    auto worker = Process::spawn<many>(desk, "text", std::vector{1, 2, 3}, Note{5, 'n'}, 2.5,
                                       std::map<std::string, int>{{"k", 9}}, "view", true);
    CHECK(worker.join().code == 0);
    const std::string_view view = "four";
    CHECK(Process::spawn<length_of>(desk, view).join().code == 4);
    CHECK(Process::spawn<&of_template<short>>(desk, 10L).join().code == 12);
}

TEST_CASE("process: large arguments travel, too large ones are an error at once", "[child]") {
    const auto desk = make_desk();
    const std::string large(900'000, 'x');
    CHECK(Process::spawn<length_of>(desk, large).join().code == 900'000 % 251);
    CHECK(code_of([&] { Process::spawn<length_of>(desk, std::string(1'100'000, 'x')); }) ==
          Errc::too_large);
}

TEST_CASE("process: arguments are on no command line, the order in no environment", "[child]") {
    const auto desk = make_desk();
    auto worker = Process::spawn<stay>(desk, "very-secret");
    wait_until_begun(desk);
    const std::string proc = "/proc/" + std::to_string(worker.pid());
    const std::string command_line = read_file(proc + "/cmdline");
    CHECK_FALSE(command_line.empty());
    CHECK(command_line == read_file("/proc/self/cmdline").substr(0, command_line.size()));
    CHECK(command_line.find("very-secret") == std::string::npos);
    desk->go_on.add(1);
    CHECK(worker.join().success());

    ::setenv("LAGOON_TEST_REPLACED", "old", 1);
    const SpawnOptions options{
        .environment = {{"LAGOON_TEST_ADDED", "yes"}, {"LAGOON_TEST_REPLACED", "new"}}};
    CHECK(Process::spawn<environment_state>(desk, options, "x").join().code == 0);
    CHECK(code_of([&] {
              Process::spawn<answer>(desk, SpawnOptions{.environment = {{"A=B", "c"}}});
          }) == Errc::invalid_argument);
}

TEST_CASE("process: no descriptor above 2 is inherited", "[child]") {
    const auto desk = make_desk();
    const int leak = ::memfd_create("lagoon-test-leak", 0);
    REQUIRE(leak > 2);
    CHECK(Process::spawn<leaked_descriptors>(desk).join().code == 0);
    ::close(leak);
}

TEST_CASE("process: the signal mask and all dispositions are the default ones", "[child]") {
    const auto desk = make_desk();
    sigset_t blocked;
    sigset_t before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    std::signal(SIGPIPE, SIG_IGN);
    CHECK(Process::spawn<signal_state>(desk).join().code == 0);
    std::signal(SIGPIPE, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE("process: join_for says whether it has ended; a stop request ends a wait", "[child]") {
    const auto desk = make_desk();
    auto worker = Process::spawn<stay>(desk, "");
    CHECK_FALSE(worker.join_for(10ms));
    CHECK_FALSE(worker.join_until(std::chrono::steady_clock::now() - 1s));
    CHECK(worker.running());
    CHECK(worker.exit_status() == std::nullopt);
    std::stop_source stop;
    std::jthread stopper{[&stop] {
        std::this_thread::sleep_for(10ms);
        stop.request_stop();
    }};
    CHECK(worker.join(stop.get_token()).how == Ended::running);
    CHECK_FALSE(worker.join_for(1h, stop.get_token()));
    wait_until_begun(desk);
    desk->go_on.add(1);
    CHECK(worker.join_for(1min));
    CHECK(worker.exit_status()->success());
}

TEST_CASE("process: the handle moves, and an empty one refuses to be used", "[child]") {
    const auto desk = make_desk();
    Process first = Process::spawn<answer>(desk);
    Process second{std::move(first)};
    CHECK(second.joinable());
    CHECK_FALSE(first.joinable());
    CHECK_FALSE(first.running());
    CHECK(code_of([&] { first.join(); }) == Errc::invalid_argument);
    CHECK(code_of([&] { first.kill(); }) == Errc::invalid_argument);
    CHECK(code_of([&] { (void)first.pid(); }) == Errc::invalid_argument);
    CHECK(code_of([&] { first.detach(); }) == Errc::invalid_argument);
    first = std::move(second);
    CHECK(first.join().code == 42);
}

TEST_CASE("process: the destructor waits; detach lets the worker go on", "[child]") {
    const auto desk = make_desk();
    { const Process waited = Process::spawn<nothing>(desk); }
    CHECK(desk->begun.load() == 1);
    Process let_go = Process::spawn<stay>(desk, "");
    const int pid = let_go.pid();
    let_go.detach();
    CHECK_FALSE(let_go.joinable());
    wait_until_begun(desk, 2);
    CHECK(::kill(pid, 0) == 0);
    desk->go_on.add(1);
    // The next spawns collect it; until then it is a zombie.
    while (::kill(pid, 0) == 0) {
        CHECK(Process::spawn<answer>(desk).join().code == 42);
    }
}

TEST_CASE("process: a copy made by fork is foreign, and its destructor does nothing", "[child]") {
    const auto desk = make_desk();
    auto worker = std::make_unique<Process>(Process::spawn<stay>(desk, ""));
    wait_until_begun(desk);
    const pid_t child = ::fork();
    if (child == 0) {
        const bool refused = code_of([&] { worker->join(); }) == Errc::invalid_argument &&
                             code_of([&] { worker->kill(); }) == Errc::invalid_argument;
        worker.reset();
        ::_exit(refused ? 0 : 1);
    }
    int status = -1;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(worker->running());
    desk->go_on.add(1);
    CHECK(worker->join().success());
}

TEST_CASE("process: a closed arena cannot be handed to a worker", "[child]") {
    auto desk = make_desk();
    desk.close();
    CHECK(code_of([&] { Process::spawn<answer>(desk); }) == Errc::closed);
}
