# Cross compiling for aarch64 on Debian: g++-aarch64-linux-gnu, and qemu-user to run what came out.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

# cereal is headers only, but Debian installs its config file below the host's library directory.
file(GLOB cereal_DIR /usr/lib/*/cmake/cereal)
