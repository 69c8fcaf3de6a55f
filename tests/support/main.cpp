// main.cpp: the main function of every Catch2 executable.
//
// Started by hand, without LAGOON_DIR, a test makes an arena directory of its own and removes it
// at the end; `ctest` and toolchain/test set LAGOON_DIR for it.
#define CATCH_CONFIG_RUNNER
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <lagoon/process.hpp>
#include <string>
#include <system_error>

#include "forks.hpp"

namespace {

class Tags : public Catch::TestEventListenerBase {
public:
    using TestEventListenerBase::TestEventListenerBase;
    void testCaseStarting(const Catch::TestCaseInfo& test) override {
        TestEventListenerBase::testCaseStarting(test);
        if (std::getenv("LAGOON_TEST_FORKS") == nullptr) return;
        support::may_fork = false;
        for (const std::string& tag : test.lcaseTags) {
            if (tag == "child" || tag == "process") support::may_fork = true;
        }
    }
};
CATCH_REGISTER_LISTENER(Tags)

class ArenaDirectory {
public:
    ArenaDirectory() {
        if (std::getenv("LAGOON_DIR") != nullptr) return;
        path_ = "/dev/shm/lagoon-test-" + std::to_string(maker_);
        if (::mkdir(path_.c_str(), 0700) != 0) {
            std::perror(path_.c_str());
            std::exit(1);
        }
        ::setenv("LAGOON_DIR", path_.c_str(), 1);
    }
    ArenaDirectory(const ArenaDirectory&) = delete;
    ArenaDirectory& operator=(const ArenaDirectory&) = delete;
    ~ArenaDirectory() {
        if (path_.empty() || ::getpid() != maker_) return;
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

private:
    pid_t maker_ = ::getpid();
    std::string path_;
};

}  // namespace

int main(int argc, char** argv) {
    lagoon::run_if_worker(argc, argv);
    const ArenaDirectory directory;
    return Catch::Session().run(argc, argv);
}
