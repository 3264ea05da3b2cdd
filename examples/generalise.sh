#!/bin/sh
# Is a model better than a look-up of the nearest training shape, on shapes and kinds of shapes not in its training set?
# Generated shapes of 40 kinds (with --furniture: all real models of examples/furniture.sh) are split at random into
# training shapes, held-out instances of the same kinds, and held-out kinds. Three models predict shapes from new images:
# train-recon and train-dit, trained on all training shapes, from 1, 4 and 8 images, and train-dit trained on only 20 of
# them from 4. Their meshes are compared with baselines: the mean shape, retrieval (the training shape whose image
# features, or whose silhouettes, are nearest), the visual hull of the images, kernel ridge regression of the codes, and
# an oracle (the training shape whose mesh is nearest). The generated shapes have a fourth set: humanoids, tunnels and
# busts, which are unlike all 40 kinds.
#   sh examples/generalise.sh [--size tiny|small] [--furniture|--curve] [FOLDER]
# small: takes three hours on one core.
# tiny: takes four minutes and tests that the script runs; its models are not trained long enough to evaluate.
# --curve: how the scores grow with the number of training shapes. Both models are trained on 20, 72, 288 and 976
#   generated shapes, and every answer is drawn as a curve. small takes thirteen hours on one core.
work=generalise options="--size --furniture --curve"
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
[ ! "$furniture" ] || [ ! "$curve" ] || refuse "--furniture and --curve exclude each other"
# count, kinds: number of shapes and of kinds; sizes: training shapes of the smaller models; decoder, few_decoder,
# denoiser, recon: training steps; judged: shapes evaluated of each set; points: points on each mesh that is evaluated;
# views: images seen; figures: number of humanoids, tunnels and busts.
case $size in
tiny) count=24 kinds=6 sizes=4 decoder=150 few_decoder=150 denoiser=150 recon=30 judged=4 points=10000 views="1 4" figures=3 ;;
small) count=400 kinds=40 sizes=20 decoder=8000 few_decoder=3000 denoiser=3000 recon=8000 judged=60 points=100000 views="1 4 8" figures=30 ;;
esac
case $curve$size in
yestiny) sizes="4 8" ;;
yessmall) count=1360 sizes="20 72 288 976" ;;
esac

if [ "$furniture" ]; then
    [ -e furniture.csv ] || python "$root/examples/furniture.py" --all -o .
    sdfkit manifest raw/ --csv furniture.csv -o manifest.json
    sdfkit watertight raw/ --manifest manifest.json -o meshes/
else
    set -- airplane chair bottle table car lamp bird sofa mug horse armchair anchor axe bed bench bookshelf bowl bus \
        cabinet cactus cat chess_piece desk dog elephant fish goblet guitar hammer house jug mushroom rabbit rocket \
        stool teapot train tree vase wine_glass
    chosen=
    while [ $# -gt $((40 - kinds)) ]; do chosen="$chosen --category $1" && shift; done
    # shellcheck disable=SC2086  # a list of options
    sdfkit shapes $chosen --count "$count" --seed 1 --format ply -o meshes/
    sdfkit manifest meshes/ -o manifest.json
fi
# split/all and split/NUMBER: training shapes. split/judged: the shapes to evaluate (recalled, instances and kinds).
# shellcheck disable=SC2086  # a list of numbers
python "$root/examples/generalise.py" split manifest.json meshes/ --sizes $sizes --judged "$judged" -o split/

embed() { sdfkit embed --model efficientnet-lite0 "$@"; }
# see SHAPES: renders the shapes of split/SHAPES from new cameras.
see() {
    for seen in $views; do
        sdfkit render "split/$1/" --views "$seen" -o "$1.$seen.views.zarr"
        embed "$1.$seen.views.zarr" -o "$1.$seen.features.zarr"
    done
}
# answer SHAPES SET MODEL IMAGES: predicts the shapes of split/SHAPES with a model that was trained on a set of shapes, and
# compares the meshes. mesh ends with status 4 if a prediction has no surface; compare gives this prediction a score of 0.
answer() {
    name=$2-$3.$4 new=$1.$4
    [ ! -e "reports/$1/$name.json" ] || return 0
    case $3 in
    dit) sdfkit predict "$2.dit.zarr" "$new.features.zarr" | sdfkit mesh --decoder "$2.deepsdf.zarr" -o "$1/$name/" ;;
    recon) sdfkit predict "$2.recon.zarr" "$new.views.zarr" | sdfkit mesh -o "$1/$name/" ;;
    esac || [ $? -eq 4 ]
    sdfkit compare "$1/$name/" "split/$1/" --training "split/$2/" --features "$new.features.zarr" \
        --training-features "$2.features.zarr" --codes "$2.deepsdf.zarr" --views "$new.views.zarr" \
        --points "$points" --json >report.part
    mv report.part "reports/$1/$name.json"
}
see judged
mkdir -p reports/judged reports/figures judged figures
# A curve has all models for each number of shapes. Otherwise the smaller set is for train-dit from 4 images alone.
largest=all
[ ! "$curve" ] || largest=''
for model in $sizes $largest; do
    steps=$decoder seen_by=$views
    [ "$model" = all ] || [ "$curve" ] || steps=$few_decoder seen_by=4
    store() { echo "$model.$1.zarr"; }
    sdfkit sample-sdf "split/$model/" --points 100000 -o "$(store samples)"
    sdfkit render "split/$model/" --views 24 -o "$(store views)"
    embed "$(store views)" -o "$(store features)"
    sdfkit train-deepsdf "$(store samples)" --steps "$steps" --code-std 0.01 -o "$(store deepsdf)"
    sdfkit train-dit "$(store features)" --codes "$(store deepsdf)" --steps "$denoiser" -o "$(store dit)"
    for seen in $seen_by; do answer judged "$model" dit "$seen"; done
    [ "$model" = all ] || [ "$curve" ] || continue
    sdfkit train-recon "$(store views)" --samples "$(store samples)" --steps "$recon" -o "$(store recon)"
    for seen in $views; do answer judged "$model" recon "$seen"; done
done
python "$root/examples/generalise.py" table split/ reports/judged/*.json | tee table.md
# Shapes unlike all training shapes, as the paper "image to 3-D from small data" tried: humanoids, tunnels and busts.
[ "$furniture" ] || {
    sdfkit shapes --category humanoid --category tunnel --category bust --count "$figures" --seed 7 --format ply \
        -o split/figures/
    sdfkit manifest split/figures/ -o figures.json
    see figures
    for seen in $views; do
        for model in $sizes $largest; do answer figures "$model" dit "$seen"; done
        for model in ${curve:+$sizes} $largest; do answer figures "$model" recon "$seen"; done
    done
    python "$root/examples/generalise.py" figures figures.json split/ reports/figures/*.json | tee -a table.md
}
[ ! "$curve" ] || {
    python "$root/examples/generalise.py" curve split/ reports/judged/*.json -o curve.png
    printf '\nTable:   %s\nImage:   %s\n' "$PWD/table.md" "$PWD/curve.png"
    exit
}
rm -rf retrieved hulls
python "$root/examples/generalise.py" retrieved split/ reports/judged/all-recon.4.json -o retrieved/
python "$root/examples/generalise.py" hulls judged.4.views.zarr -o hulls/
# All the numbers of images that there are, then the baselines from four images.
predicted=$(for seen in $views; do echo "judged/all-recon.$seen/"; done)
# shellcheck disable=SC2086  # a list of folders
for set in instances kinds; do
    python "$root/examples/contact_sheet.py" "split/$set/" $predicted retrieved/ hulls/ -o "$set.png" --columns 2 --most 10
done

echo
echo "Table:   $PWD/table.md"
echo "Images:  $PWD/instances.png, $PWD/kinds.png (ten held-out shapes each: the shape, the predictions of train-recon"
echo "         from $(echo $views) images; from four images, retrieval by features and the visual hull)"
