"""Prints what a C++ compiler needs to link a program with this Python."""

import sysconfig

folder, version = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDVERSION")
print(f"-I{sysconfig.get_path('include')} -L{folder} -Wl,-rpath,{folder} -lpython{version}")
