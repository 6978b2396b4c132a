"""gost's formats, verbatim: configuration files, command lines and what they print.

load      files, stdin, inline JSON, URLs -> Config          (decode, yaml_read, sources, positions)
dump      Config -> the YAML or JSON that ``-O`` prints       (yaml_write, values)
url cmd   the grammar of -L and -F
flags settings cli   the command line as a whole
schema    one dataclass per object of the configuration
"""
